"""Simulated GPUs are described as the real driver describes real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.simulated_gpus import GPU_PROFILES, attribute_names, devices, gpu_uuid

REAL = Path(__file__).parents[2] / "data" / "resourceslice-h200.yaml"


def real_device() -> dict[str, Any]:
    (item,) = yaml.safe_load(REAL.read_text())["items"]
    device: dict[str, Any] = item["spec"]["devices"][0]
    return device


def test_an_h200_is_described_attribute_for_attribute_as_a_real_one() -> None:
    (simulated,) = devices("gpu1", 1, GPU_PROFILES["h200"], "0.4.1")
    real = real_device()
    identity = ("uuid", "resource.kubernetes.io/pciBusID", "resource.kubernetes.io/pcieRoot")
    for name, value in real["attributes"].items():
        assert set(simulated["attributes"][name]) == set(value), "the same type"
        if name not in identity:
            assert simulated["attributes"][name] == value
    assert set(simulated["attributes"]) == set(real["attributes"])
    assert simulated["capacity"] == real["capacity"]
    assert simulated["name"] == real["name"]


def test_driver_0_5_adds_the_numa_node() -> None:
    added = set(attribute_names("0.5.0")) - set(attribute_names("0.4.1"))
    assert added == {"resource.kubernetes.io/numaNode"}


def test_no_two_gpus_share_a_uuid_or_a_bus_id() -> None:
    found = [d for node in ("a", "b") for d in devices(node, 16, GPU_PROFILES["t4"], "0.5.0")]
    uuids = {d["attributes"]["uuid"]["string"] for d in found}
    assert len(uuids) == len(found) == 32
    bus = {d["attributes"]["resource.kubernetes.io/pciBusID"]["string"] for d in found[:16]}
    assert len(bus) == 16


def test_uuids_never_change() -> None:
    assert gpu_uuid("gpu-node-0", 0) == "GPU-d39d2a7e-364c-5c3e-8fc3-d94479a5c039"


@pytest.mark.parametrize("name", list(GPU_PROFILES))
def test_profiles_are_complete(name: str) -> None:
    profile = GPU_PROFILES[name]
    assert profile.memory_mib is None or profile.memory_mib > 10_000
    major, minor = profile.compute_capability.split(".")
    assert int(major) >= 7
    assert minor.isdigit()
