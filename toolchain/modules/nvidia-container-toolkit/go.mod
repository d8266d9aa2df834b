// NVIDIA's Container Toolkit: nvidia-ctk describes a node's GPUs in CDI, and
// nvidia-cdi-hook is what such a description makes a container runtime run.
module dra-workshop/toolchain/nvidia-container-toolkit

go 1.26

require github.com/NVIDIA/nvidia-container-toolkit v1.19.1
