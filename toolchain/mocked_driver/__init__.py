"""A driver root without a driver: what `gpus=mocked` gives NVIDIA's DRA driver instead of a GPU's.

NVIDIA's kubelet plugin and its chart stay as they are; they are told that the driver lies in this
root. In it are stand-ins, each a small file of C, for the parts of a GPU driver that they call:

- `nvml.c`: libnvidia-ml.so.1, the GPUs that a text file lists, and their health events
- `cuda.c`: libcuda.so.1, which says that there is no GPU to compute on
- `nvidia_smi.c`: nvidia-smi, which keeps the compute mode and the time slice that it sets
- `mps_control.c`, `mps_server.c`: MPS's control daemon, with its limits and without any client
- `gpus.h`: what they share: the list of GPUs, and where their state lies
- `build`: compiles them; `root`: lays out a root with GPUs

Nothing here computes, and nothing is measured: what needs silicon is "not supported".
"""
