// kwok simulates nodes; kwokctl runs a control plane as plain processes.
module dra-workshop/toolchain/kwok

go 1.26.0

require sigs.k8s.io/kwok v0.8.0
