// Program kube-node is what a node that kubeadm sets up is run with, in one
// binary: it is the kubelet, kubeadm or kubectl, whichever it is called as.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/restclient"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/kubectl/pkg/cmd"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
	kubeadm "k8s.io/kubernetes/cmd/kubeadm/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

var components = map[string]func() error{
	"kubeadm": kubeadm.Run,
	"kubectl": func() error { return runNoErrOutput(cmd.NewDefaultKubectlCommand()) },
	"kubelet": func() error { return runNoErrOutput(kubelet.NewKubeletCommand(context.Background())) },
}

func runNoErrOutput(command *cobra.Command) error { return cli.RunNoErrOutput(command) }

func main() {
	name := filepath.Base(os.Args[0])
	run, ok := components[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "called as %q; link this program as kubeadm, kubectl or kubelet\n", name)
		os.Exit(2)
	}
	cmdutil.CheckErr(run())
}
