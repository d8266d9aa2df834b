// Program pause is the first process of a pod's sandbox: it holds the pod's
// namespaces, reaps what the pod's processes leave behind where they share
// their process namespace, and ends on SIGTERM or SIGINT.
//
// It stands in for Kubernetes' own, which is published as an image only.
package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/go-reap"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	go reap.ReapChildren(nil, nil, nil, nil)
	<-ended
}
