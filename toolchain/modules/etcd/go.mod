// etcd, the store of the Kubernetes control plane.
module dra-workshop/toolchain/etcd

go 1.26

require go.etcd.io/etcd/server/v3 v3.6.14
