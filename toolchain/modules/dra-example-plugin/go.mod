// The example driver of Kubernetes' DRA: a real kubelet plugin whose devices are made up.
module dra-workshop/toolchain/dra-example-plugin

go 1.26.0

require sigs.k8s.io/dra-example-driver v0.4.0
