// The CNI plugins that give pods a network on one node.
module dra-workshop/toolchain/cni-plugins

go 1.26

require github.com/containernetworking/plugins v1.9.1
