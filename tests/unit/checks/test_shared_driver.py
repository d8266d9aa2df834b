"""Module 2 on a cluster of others: the one GPU is looked at, and nobody else's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubernetes import client

from checks.modules import driver
from checks.result import CheckFailed
from components.drivers import DRIVERS
from components.simulated_gpus import attribute_names, gpu_uuid
from kube import devices
from tests.unit.fake_kube import (
    FORBIDDEN,
    FORBIDDEN_TEXT,
    KUBECONFIG,
    NAMESPACE,
    FakeKube,
    daemon_set,
    device_class,
    gpu_slice,
    node,
    pod,
)

NVIDIA = DRIVERS["nvidia"]
TARGET = gpu_uuid("gpu-node-1", 1)
THEIRS = {
    "kubeconfig": KUBECONFIG,
    "clusterOwned": False,
    "driverOwned": False,
    "namespace": NAMESPACE,
    "chart": NVIDIA.name,
    "plugin": "their-plugin",
    "driver": NVIDIA.domain,
    "classes": ["gpu.nvidia.com"],
    "version": "",
    "attributes": [],
    "nodes": [],
    "gpusPerNode": 0,
    "target": TARGET,
    "ownMemory": False,
    "uuids": [],
    "devices": devices.GPU,
    "memoryLimit": None,
}
OURS = {"driverOwned": True, "version": "0.5.0", "attributes": attribute_names("0.5.0")}


def plugin_pod(on: str, ready: str = "True") -> Any:
    found = pod(f"plugin-{on}", "Running", on=on)
    found.status.conditions.append(client.V1PodCondition(type="Ready", status=ready))
    owner = client.V1OwnerReference(
        api_version="apps/v1", kind="DaemonSet", name="their-plugin", uid="u"
    )
    found.metadata.owner_references = [owner]
    return found


@pytest.fixture
def kube(monkeypatch: pytest.MonkeyPatch) -> FakeKube:
    """Three nodes; the plugin works on the second only, and one node has another driver's GPUs."""
    label = {"helm.sh/chart": f"{NVIDIA.name}-0.5.0"}
    return FakeKube(
        nodes=[node("gpu-node-0", "False"), node("gpu-node-1"), node("cpu")],
        daemon_sets=[daemon_set("their-plugin", 1, label)],
        device_classes=[device_class("gpu.nvidia.com")],
        pods=[plugin_pod("gpu-node-0", "False"), plugin_pod("gpu-node-1")],
        slices=[gpu_slice("gpu-node-1", gpus=2), gpu_slice("cpu", 1, driver="other.example.com")],
    ).stand_in(monkeypatch, driver)


def run(**changed: Any) -> dict[str, dict[str, Any]]:
    result = driver.run("2", THEIRS | changed)
    return {finding["id"]: finding for finding in result["checks"]}


def test_one_gpu_of_a_driver_of_others_is_enough(kube: FakeKube) -> None:
    found = run()
    assert {identity: each["status"] for identity, each in found.items()} == {
        "chart-version": "passed",
        "device-classes": "passed",
        "devices-published": "passed",
        "plugin-ready": "passed",
    }
    assert found["chart-version"]["found"] == "0.5.0"
    assert found["devices-published"]["found"] == "gpu-1 on gpu-node-1 (NVIDIA H200)"
    assert found["plugin-ready"]["found"] == "ready on gpu-node-1"


def test_of_a_driver_of_ours_version_and_attributes_are_looked_at(kube: FakeKube) -> None:
    found = run(**OURS)
    assert found["device-attributes"]["status"] == "passed"
    assert run(**OURS | {"version": "0.4.1"})["chart-version"]["status"] == "failed"


def test_a_driver_whose_daemon_set_is_not_known_is_not_looked_for(kube: FakeKube) -> None:
    found = run(plugin="", namespace="")
    skipped = [identity for identity, each in found.items() if each["status"] == "skipped"]
    assert skipped == ["chart-version", "plugin-ready"]


def test_a_plugin_that_is_not_ready_on_that_node_fails(kube: FakeKube) -> None:
    kube.pods = [plugin_pod("gpu-node-0"), plugin_pod("gpu-node-1", "False")]
    assert run()["plugin-ready"]["found"] == "on gpu-node-1: Running on gpu-node-1"
    kube.pods = [plugin_pod("gpu-node-0")]
    assert run()["plugin-ready"]["found"] == "on gpu-node-1: it has no pod there"


def test_a_gpu_that_is_not_published_in_time_fails(kube: FakeKube) -> None:
    kube.slices.pop(0)
    assert run()["devices-published"]["found"] == (
        f"after 30 s {TARGET} is in no slice of gpu.nvidia.com"
    )


def test_without_a_target_any_device_will_do(kube: FakeKube) -> None:
    assert run(target="")["devices-published"]["found"].startswith("gpu-0 on gpu-node-1")


def test_the_memory_limit_is_compared_with_that_gpu(kube: FakeKube) -> None:
    kube.slices.append(gpu_slice("gpu-node-0", gpus=1))
    kube.slices[-1].spec.devices[0].capacity["memory"].value = "1Mi"
    assert run(memoryLimit={"mib": 1024, "clients": 3})["mps-memory-limit-fits"]["status"] == (
        "passed"
    )
    assert run(memoryLimit={"mib": 2**20, "clients": 3})["mps-memory-limit-fits"]["status"] == (
        "failed"
    )


def gate(**changed: Any) -> str:
    return driver.gate(THEIRS | {"seconds": 5.0} | changed)


def test_the_gate_opens_for_it_though_other_nodes_are_not_ready(kube: FakeKube) -> None:
    assert json.loads(gate()) == {"uuid": TARGET, "node": "gpu-node-1"}


def test_the_gate_waits_until_it_is_published(kube: FakeKube) -> None:
    late = kube.slices.pop(0)
    kube.changes = [lambda: kube.slices.append(late)]
    assert json.loads(gate()) == {"uuid": TARGET, "node": "gpu-node-1"}


def test_the_gate_tells_what_is_missing(kube: FakeKube) -> None:
    kube.slices.pop(0)
    with pytest.raises(CheckFailed, match="is in no slice"):
        gate()
    kube.refusals["list_resource_slice"] = FORBIDDEN
    with pytest.raises(CheckFailed, match=FORBIDDEN_TEXT):
        gate()
