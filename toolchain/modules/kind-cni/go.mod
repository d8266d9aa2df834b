// The plugins of the CNI project that a node of kind is given.
module dra-workshop/toolchain/kind-cni

go 1.26

require github.com/containernetworking/plugins v1.9.1
