"""GPUs that a simulated node can have, as NVIDIA's DRA driver would describe them.

Compute capabilities, where nothing else is said, are from NVIDIA's table of CUDA GPUs.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GpuProfile:
    """One model of GPU.

    product, brand, architecture, addressing_mode: the strings that the driver publishes.
    compute_capability: "major.minor"; memory_mib: the total that NVML reports, in MiB (the driver
    publishes it in bytes), not the size on the box.
    """

    product: str
    brand: str
    architecture: str
    compute_capability: str
    memory_mib: int
    addressing_mode: str = "None"


GPU_PROFILES: dict[str, GpuProfile] = {
    # Memory: nvidia-smi.
    "rtx4090": GpuProfile("NVIDIA GeForce RTX 4090", "GeForce", "Ada Lovelace", "8.9", 24564),
    # Memory: nvidia-smi totals listed in modal-labs/modal-client#2797.
    "a100": GpuProfile("NVIDIA A100-SXM4-80GB", "Nvidia", "Ampere", "8.0", 81920),
    "h100": GpuProfile("NVIDIA H100 80GB HBM3", "Nvidia", "Hopper", "9.0", 81559),
    # All from a real one: a slice of driver 0.4.1.
    "h200": GpuProfile("NVIDIA H200", "Nvidia", "Hopper", "9.0", 143771),
    # Memory: nvidia-smi.
    "gb200": GpuProfile("NVIDIA GB200", "Nvidia", "Blackwell", "10.0", 189471, "ATS"),
    # Name and brand: NVIDIA/nvidia-docker#1628; memory: modal-labs/modal-client#2797.
    "t4": GpuProfile("Tesla T4", "Nvidia", "Turing", "7.5", 15360),
}
