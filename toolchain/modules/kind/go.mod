// kind, which makes clusters whose nodes are containers.
module dra-workshop/toolchain/kind

go 1.26.0

require sigs.k8s.io/kind v0.33.0
