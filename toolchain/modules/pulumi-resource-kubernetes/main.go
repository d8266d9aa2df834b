// Program pulumi-resource-kubernetes serves Pulumi's Kubernetes provider. The
// project's own main embeds a generated schema that its module does not carry;
// schema and mapping only serve GetSchema and `pulumi import`, which the
// workshop does not use.
package main

import (
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
)

// version is set by the linker.
var version = "4.29.0"

func main() {
	provider.Serve("kubernetes", version, []byte("{}"), []byte("{}"))
}
