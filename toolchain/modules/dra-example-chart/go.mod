// The example driver of Kubernetes' DRA: the source of its Helm chart.
module dra-workshop/toolchain/dra-example-chart

go 1.26.0

require sigs.k8s.io/dra-example-driver v0.4.0
