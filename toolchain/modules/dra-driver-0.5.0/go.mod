// NVIDIA's DRA driver 0.5.0: the source of its Helm chart.
module dra-workshop/toolchain/dra-driver

go 1.26

require sigs.k8s.io/dra-driver-nvidia-gpu v0.5.0
