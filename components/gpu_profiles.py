"""GPUs that a simulated node can have, as NVIDIA's DRA driver would describe them.

`memory_mib` is the total that NVML reports (the driver publishes it in bytes), not the size on
the box. Streaming multiprocessors and compute capability are those that CUDA reports.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GpuProfile:
    """One model of GPU.

    product, brand, architecture, addressing_mode: the strings that the driver publishes.
    compute_capability: "major.minor"; memory_mib: MiB; sm_count: streaming multiprocessors.
    source: where the figures come from.
    """

    product: str
    brand: str
    architecture: str
    compute_capability: str
    memory_mib: int
    sm_count: int
    source: str
    addressing_mode: str = "None"


_CAPABILITIES = "compute capability: NVIDIA's table of CUDA GPUs"
_MEMORY_TABLE = "memory: nvidia-smi totals listed in modal-labs/modal-client#2797"

GPU_PROFILES: dict[str, GpuProfile] = {
    "rtx4090": GpuProfile(
        "NVIDIA GeForce RTX 4090",
        "GeForce",
        "Ada Lovelace",
        "8.9",
        24564,
        128,
        f"SMs: NVIDIA's Ada GPU architecture paper; memory: nvidia-smi; {_CAPABILITIES}",
    ),
    "a100": GpuProfile(
        "NVIDIA A100-SXM4-80GB",
        "Nvidia",
        "Ampere",
        "8.0",
        81920,
        108,
        f"SMs: NVIDIA's A100 architecture paper; {_MEMORY_TABLE}; {_CAPABILITIES}",
    ),
    "h100": GpuProfile(
        "NVIDIA H100 80GB HBM3",
        "Nvidia",
        "Hopper",
        "9.0",
        81559,
        132,
        f"SMs: NVIDIA's H100 architecture paper (SXM5); {_MEMORY_TABLE}; {_CAPABILITIES}",
    ),
    "h200": GpuProfile(
        "NVIDIA H200",
        "Nvidia",
        "Hopper",
        "9.0",
        143771,
        132,
        "read from a real one: slice of driver 0.4.1, and the SM count from CUDA",
    ),
    "gb200": GpuProfile(
        "NVIDIA GB200",
        "Nvidia",
        "Blackwell",
        "10.0",
        189471,
        152,
        "SMs: the instance profiles in NVIDIA/gpu-operator#1303; memory: nvidia-smi; "
        f"{_CAPABILITIES}",
        addressing_mode="ATS",
    ),
    "t4": GpuProfile(
        "Tesla T4",
        "Nvidia",
        "Turing",
        "7.5",
        15360,
        40,
        f"SMs: NVIDIA's Turing architecture paper; name and brand: NVIDIA/nvidia-docker#1628; "
        f"{_MEMORY_TABLE}; {_CAPABILITIES}",
    ),
}
