"""Simulated GPUs; that the driver describes them alike is for tests/node/test_slices.py."""

from __future__ import annotations

import pytest

from components.simulated_gpus import GPU_PROFILES, attribute_names, devices, gpu_uuid


@pytest.mark.parametrize(("name", "memory"), [("h200", "143771Mi"), ("a100", "80Gi")])
def test_memory_is_written_as_the_api_server_writes_it(name: str, memory: str) -> None:
    (device,) = devices("node", 1, GPU_PROFILES[name], "0.5.0")
    assert device["capacity"] == {"memory": {"value": memory}}


@pytest.mark.parametrize(
    ("shares", "default", "least"),
    [("memory", "143771Mi", "1Mi"), ("unlimited", "0", "0"), ("4", "0", "0")],
)
def test_what_a_claim_takes_of_a_shared_gpu_that_does_not_say_how_much(
    shares: str, default: str, least: str
) -> None:
    (device,) = devices("node", 1, GPU_PROFILES["h200"], "0.5.0", shares)
    assert device["allowMultipleAllocations"]
    policy = device["capacity"]["memory"]["requestPolicy"]
    assert policy["default"] == default
    assert policy["validRange"] == {"min": least, "max": "143771Mi", "step": "1Mi"}
    assert ("shares" in device["capacity"]) == (shares == "4")


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
