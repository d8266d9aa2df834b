// containerd, the shim that it runs each container under, and ctr, its client.
module dra-workshop/toolchain/containerd

go 1.26.6

require github.com/containerd/containerd/v2 v2.4.2
