// Program kind-net is the pod network of a cluster whose nodes share one
// network, as those of kind do. On each node it writes the configuration of CNI
// for the addresses that the node was given for its pods, and keeps one route to
// the pods of every other node.
//
// It stands in for kind's own, which is published as an image only.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

const (
	configuration = "/etc/cni/net.d/10-kind-net.conflist"
	// Marks our routes among those of the kernel; no number of a known program.
	protocol = netlink.RouteProtocol(0x6b)
	interval = 30 * time.Second
)

func main() {
	log.SetPrefix("kind-net: ")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Getenv("NODE_NAME")); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

// run keeps the node's network in step with the nodes of the cluster.
func run(ctx context.Context, self string) error {
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	// kind names the API server by the network of the nodes: services do not
	// work before kube-proxy does, and a cluster may have none.
	if endpoint := os.Getenv("CONTROL_PLANE_ENDPOINT"); endpoint != "" {
		config.Host = "https://" + endpoint
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	changed := make(chan struct{}, 1)
	note := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	nodes := factory.Core().V1().Nodes()
	_, err = nodes.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { note() },
		UpdateFunc: func(any, any) { note() },
		DeleteFunc: func(any) { note() },
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), nodes.Informer().HasSynced) {
		return ctx.Err()
	}
	for {
		found, err := nodes.Lister().List(labels.Everything())
		if err == nil {
			err = settle(self, found)
		}
		if err != nil {
			log.Print(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-time.After(interval):
		}
	}
}

// settle writes this node's configuration and has exactly the routes to the
// pods of the other nodes.
func settle(self string, nodes []*corev1.Node) error {
	var failures []error
	wanted := map[string]bool{}
	for _, node := range nodes {
		for _, text := range podNetworks(node) {
			_, pods, err := net.ParseCIDR(text)
			if err != nil {
				failures = append(failures, err)
				continue
			}
			if node.Name == self {
				continue
			}
			gateway := address(node, pods.IP.To4() != nil)
			if gateway == nil {
				continue
			}
			wanted[pods.String()] = true
			route := &netlink.Route{Dst: pods, Gw: gateway, Protocol: protocol}
			if err := netlink.RouteReplace(route); err != nil {
				failures = append(failures, fmt.Errorf("route to %s by %s: %w", pods, gateway, err))
			}
		}
		if node.Name == self {
			failures = append(failures, configure(podNetworks(node)))
		}
	}
	return errors.Join(append(failures, forget(wanted))...)
}

// forget removes our routes to nodes that are gone.
func forget(wanted map[string]bool) error {
	ours := &netlink.Route{Protocol: protocol}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, ours, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return err
	}
	for _, route := range routes {
		if route.Dst != nil && !wanted[route.Dst.String()] {
			err = errors.Join(err, netlink.RouteDel(&route))
		}
	}
	return err
}

func podNetworks(node *corev1.Node) []string {
	if len(node.Spec.PodCIDRs) > 0 {
		return node.Spec.PodCIDRs
	}
	if node.Spec.PodCIDR != "" {
		return []string{node.Spec.PodCIDR}
	}
	return nil
}

// address is the node's own in the network of the nodes, of one IP version.
func address(node *corev1.Node, version4 bool) net.IP {
	for _, found := range node.Status.Addresses {
		ip := net.ParseIP(found.Address)
		if found.Type == corev1.NodeInternalIP && ip != nil && (ip.To4() != nil) == version4 {
			return ip
		}
	}
	return nil
}

// configure has CNI give pods addresses of the node's networks.
func configure(networks []string) error {
	if len(networks) == 0 {
		return errors.New("this node has no pod network yet")
	}
	ranges, routes := [][]map[string]string{}, []map[string]string{}
	for _, network := range networks {
		ranges = append(ranges, []map[string]string{{"subnet": network}})
		everywhere := "0.0.0.0/0"
		if ip, _, err := net.ParseCIDR(network); err == nil && ip.To4() == nil {
			everywhere = "::/0"
		}
		routes = append(routes, map[string]string{"dst": everywhere})
	}
	content, err := json.MarshalIndent(map[string]any{
		"cniVersion": "1.0.0",
		"name":       "kind-net",
		"plugins": []any{
			map[string]any{
				// Not a bridge: what pods of one node send each other is to
				// pass the rules of services too.
				"type":   "ptp",
				"ipMasq": true,
				"ipam": map[string]any{
					"type": "host-local", "dataDir": "/run/cni-ipam-state",
					"ranges": ranges, "routes": routes,
				},
			},
			map[string]any{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
		},
	}, "", "  ")
	if err != nil {
		return err
	}
	if before, err := os.ReadFile(configuration); err == nil && string(before) == string(content) {
		return nil
	}
	partial := filepath.Join(filepath.Dir(configuration), ".kind-net.partial")
	if err := os.WriteFile(partial, content, 0o644); err != nil {
		return err
	}
	return os.Rename(partial, configuration)
}
