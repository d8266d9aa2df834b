// Program node-proxy forwards every TCP connection that LISTEN takes to TARGET.
// Through it pods reach, at an address of the node, an API server that listens
// on loopback only.
package main

import (
	"fmt"
	"log"
	"net"
	"os"

	"github.com/inetaf/tcpproxy"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: node-proxy LISTEN TARGET, each HOST:PORT")
		os.Exit(2)
	}
	listen, target := os.Args[1], os.Args[2]
	for _, address := range []string{listen, target} {
		// Go would take an empty host for all addresses of the node.
		if host, _, err := net.SplitHostPort(address); err != nil || host == "" {
			fmt.Fprintf(os.Stderr, "node-proxy: %q is not an address of the form HOST:PORT\n", address)
			os.Exit(2)
		}
	}
	log.SetPrefix("node-proxy: ")
	var proxy tcpproxy.Proxy
	proxy.AddRoute(listen, tcpproxy.To(target))
	if err := proxy.Start(); err != nil {
		log.Fatal(err)
	}
	log.Printf("forwarding %s to %s", listen, target)
	log.Fatal(proxy.Wait())
}
