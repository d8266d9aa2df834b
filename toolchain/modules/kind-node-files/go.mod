// kind's own files of a node image: entrypoint, units and settings. Nothing is compiled.
module dra-workshop/toolchain/kind-node-files

go 1.26.0

require sigs.k8s.io/kind v0.33.0
