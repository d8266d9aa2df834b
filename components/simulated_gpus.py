"""What simulated GPUs are called, which models there are, and how NVIDIA's driver would describe
them: data only. Compute capabilities are from NVIDIA's table of CUDA GPUs."""

import uuid
from dataclasses import dataclass
from typing import Any

import semver

DRIVER = "gpu.nvidia.com"
NVIDIA_DRIVER = ("580.159.4", "13.0.0")
"""Versions of the GPU driver and of CUDA that simulated GPUs report: those of the real H200
whose slice is the model. (The driver prints them as semantic versions, so .04 becomes .4.)"""
_NAMESPACE = uuid.UUID("5a0d2c1e-6f4b-4a3e-9c57-2f1d8e7b6a90")
"""UUIDs of simulated GPUs are derived from this, so that manifests may name them."""


@dataclass(frozen=True)
class GpuProfile:
    """One model of GPU.

    product, brand, architecture, addressing_mode: the strings that the driver publishes.
    compute_capability: "major.minor"; memory_mib: the total that NVML reports, in MiB (the driver
    publishes it in bytes), not the size on the box; None for a GPU that uses the machine's memory,
    of which NVML reports none and the driver publishes none.
    """

    product: str
    brand: str
    architecture: str
    compute_capability: str
    memory_mib: int | None
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
    # Addressing mode: AlexsJones/llmfit#93; memory: Syllo/nvtop#466.
    "gb10": GpuProfile("NVIDIA GB10", "Nvidia", "Blackwell", "12.1", None, "ATS"),
    # Name and brand: NVIDIA/nvidia-docker#1628; memory: modal-labs/modal-client#2797.
    "t4": GpuProfile("Tesla T4", "Nvidia", "Turing", "7.5", 15360),
}


def node_names(count: int) -> list[str]:
    return [f"gpu-node-{index}" for index in range(count)]


def gpu_uuid(node: str, index: int) -> str:
    """The UUID of a simulated GPU; the same in every stack."""
    return f"GPU-{uuid.uuid5(_NAMESPACE, f'{node}/gpu-{index}')}"


def pci_bus_id(index: int) -> str:
    return f"0000:{index + 6:02x}:00.0"


def numa_node(index: int) -> int:
    return index % 2


def attribute_names(driver_version: str) -> list[str]:
    """The attributes that a GPU has under a version of NVIDIA's driver, sorted."""
    any_profile = next(iter(GPU_PROFILES.values()))
    (device,) = devices("", 1, any_profile, driver_version)
    return sorted(device["attributes"])


def devices(
    node: str, count: int, profile: GpuProfile, driver_version: str, shares: str = ""
) -> list[dict[str, Any]]:
    """The devices of one node's ResourceSlice, as NVIDIA's driver of that version writes them.

    shares: the setting consumableShares. A test has the driver publish the same GPUs
    (tests/node/test_slices.py).
    """
    driver, cuda = NVIDIA_DRIVER
    has_numa_node = semver.Version.parse(driver_version) >= semver.Version(0, 5, 0)
    found = []
    for index in range(count):
        attributes: dict[str, dict[str, str | int]] = {
            "addressingMode": {"string": profile.addressing_mode},
            "architecture": {"string": profile.architecture},
            "brand": {"string": profile.brand},
            "cudaComputeCapability": {"version": f"{profile.compute_capability}.0"},
            "cudaDriverVersion": {"version": cuda},
            "driverVersion": {"version": driver},
            "productName": {"string": profile.product},
            "resource.kubernetes.io/pciBusID": {"string": pci_bus_id(index)},
            "resource.kubernetes.io/pcieRoot": {"string": f"pci0000:{index + 6:02x}"},
            "type": {"string": "gpu"},
            "uuid": {"string": gpu_uuid(node, index)},
        }
        if has_numa_node:
            attributes["resource.kubernetes.io/numaNode"] = {"int": numa_node(index)}
        device: dict[str, Any] = {"name": f"gpu-{index}", "attributes": attributes}
        if shares:
            device["allowMultipleAllocations"] = True
        if profile.memory_mib is not None:
            device["capacity"] = _capacity(_quantity(profile.memory_mib), shares)
        found.append(device)
    return found


def _capacity(memory: str, shares: str) -> dict[str, Any]:
    """What claims may take parts of: with `memory` one that does not say how much takes all, else
    none."""
    if not shares:
        return {"memory": {"value": memory}}
    default, least = (memory, "1Mi") if shares == "memory" else ("0", "0")
    found = {"memory": _divisible(memory, default, least, "1Mi")}
    return found | {"shares": _divisible(shares, "1", "1", "1")} if shares.isdigit() else found


def _divisible(value: str, default: str, least: str, step: str) -> dict[str, Any]:
    valid = {"min": least, "max": value, "step": step}
    return {"value": value, "requestPolicy": {"default": default, "validRange": valid}}


def _quantity(mib: int) -> str:
    """In the largest unit that makes it a whole number, as Kubernetes writes quantities."""
    whole, rest = divmod(mib, 1024)
    return f"{mib}Mi" if rest else f"{whole}Gi"


def mocked(node: str, count: int, profile: GpuProfile) -> list[dict[str, Any]]:
    """The same GPUs, as a mocked GPU driver is told of them (toolchain/mocked_driver)."""
    return [
        {
            "uuid": gpu_uuid(node, index),
            "product": profile.product,
            "brand": profile.brand,
            "architecture": profile.architecture,
            "compute_capability": profile.compute_capability,
            "memory_mib": profile.memory_mib,
            "pci_bus_id": pci_bus_id(index),
            "addressing_mode": profile.addressing_mode,
            "numa_node": numa_node(index),
        }
        for index in range(count)
    ]
