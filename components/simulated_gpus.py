"""What simulated GPUs are called, and how NVIDIA's driver would describe them: data only."""

from __future__ import annotations

import uuid
from typing import Any

import semver

from components.gpu_profiles import GPU_PROFILES, GpuProfile

DRIVER = "gpu.nvidia.com"
NVIDIA_DRIVER = ("580.159.4", "13.0.0")
"""Versions of the GPU driver and of CUDA that simulated GPUs report: those of the real H200
whose slice is the model. (The driver prints them as semantic versions, so .04 becomes .4.)"""
_NAMESPACE = uuid.UUID("5a0d2c1e-6f4b-4a3e-9c57-2f1d8e7b6a90")
"""UUIDs of simulated GPUs are derived from this, so that manifests may name them."""


def node_names(count: int) -> list[str]:
    return [f"gpu-node-{index}" for index in range(count)]


def gpu_uuid(node: str, index: int) -> str:
    """The UUID of a simulated GPU; the same in every stack."""
    return f"GPU-{uuid.uuid5(_NAMESPACE, f'{node}/gpu-{index}')}"


def attribute_names(driver_version: str) -> list[str]:
    """The attributes that a GPU has under a version of NVIDIA's driver, sorted."""
    any_profile = next(iter(GPU_PROFILES.values()))
    return sorted(_attributes("", 0, any_profile, driver_version))


def devices(
    node: str, count: int, profile: GpuProfile, driver_version: str
) -> list[dict[str, Any]]:
    """The devices of one node's ResourceSlice, as NVIDIA's driver of that version writes them.

    Names and types of the attributes: cmd/gpu-kubelet-plugin/deviceinfo.go of the driver, and a
    real slice of 0.4.1.
    """
    return [
        {
            "name": f"gpu-{index}",
            "attributes": _attributes(node, index, profile, driver_version),
            "capacity": {"memory": {"value": f"{profile.memory_mib}Mi"}},
        }
        for index in range(count)
    ]


def _attributes(
    node: str, index: int, profile: GpuProfile, driver_version: str
) -> dict[str, dict[str, str | int]]:
    driver, cuda = NVIDIA_DRIVER
    attributes: dict[str, dict[str, str | int]] = {
        "addressingMode": {"string": profile.addressing_mode},
        "architecture": {"string": profile.architecture},
        "brand": {"string": profile.brand},
        "cudaComputeCapability": {"version": f"{profile.compute_capability}.0"},
        "cudaDriverVersion": {"version": cuda},
        "driverVersion": {"version": driver},
        "productName": {"string": profile.product},
        "resource.kubernetes.io/pciBusID": {"string": f"0000:{index + 6:02x}:00.0"},
        "resource.kubernetes.io/pcieRoot": {"string": f"pci0000:{index + 6:02x}"},
        "type": {"string": "gpu"},
        "uuid": {"string": gpu_uuid(node, index)},
    }
    if semver.Version.parse(driver_version) >= semver.Version(0, 5, 0):
        attributes["resource.kubernetes.io/numaNode"] = {"int": index % 2}
    return attributes
