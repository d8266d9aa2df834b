"""Who owns which GPU of a cluster that others use too."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes import client

from kube import ownership
from kube.devices import GPU, MOCK, SIMULATED, published
from kube.errors import KubeError
from kube.permissions import plural
from machine import identity
from tests.unit.fake_kube import claim, daemon_set, gpu_slice, node, refusal

CHART = "dra-driver-nvidia-gpu"
PLUGIN = "dra-driver-nvidia-gpu-kubelet-plugin"
PUBLISHED = published([gpu_slice("a", gpus=2)])


def made(name: str, **metadata: Any) -> Any:
    found = node(name)
    for key, value in metadata.items():
        setattr(found.metadata, key, value)
    return found


def offering(name: str, **resources: str) -> Any:
    found = node(name)
    found.status.capacity = {"cpu": "8"} | {
        key.replace("__", "/").replace("_", "."): value for key, value in resources.items()
    }
    return found


def test_nodes_with_gpus_are_those_of_a_driver_a_plugin_or_a_label() -> None:
    nodes = [
        made("a", annotations={"kwok.x-k8s.io/node": "fake"}),
        offering("b", nvidia_com__gpu="4"),
        made("c", labels={"nvidia.com/gpu.present": "true"}),
        made("d", labels={"nvidia.com/gpu.present": "false"}),
        offering("e", nvidia_com__gpu="0"),
    ]
    found = ownership.gpu_nodes(nodes, PUBLISHED)
    assert [str(each) for each in found] == [
        "a (2 devices of the driver, simulated)",
        "b (device plugin: 4 nvidia.com/gpu)",
        "c (nobody)",
    ]
    assert ownership.of_both(found) == []


def test_a_node_with_two_owners_is_told() -> None:
    found = ownership.gpu_nodes([offering("a", nvidia_com__gpu="2")], PUBLISHED)
    assert ownership.of_both(found) == [
        "a (2 devices of the driver; device plugin: 2 nvidia.com/gpu)"
    ]


def test_slices_of_mig_of_a_device_plugin_count_too() -> None:
    node_a = node("a")
    node_a.status.capacity = {"nvidia.com/mig-1g.10gb": "7"}
    assert ownership.offered(node_a) == {"nvidia.com/mig-1g.10gb": 7}


@pytest.mark.parametrize(
    ("simulated", "where", "driver", "kind"),
    [
        ({"a": True, "b": False}, "a", "gpu.nvidia.com", SIMULATED),
        ({"a": True, "b": False}, "b", "gpu.nvidia.com", GPU),
        ({"a": True, "b": False}, "b", "gpu.example.com", MOCK),
        ({"a": True, "b": False}, "", "gpu.nvidia.com", GPU),
        ({"a": True, "b": True}, "", "gpu.nvidia.com", SIMULATED),
        ({}, "", "gpu.nvidia.com", GPU),
    ],
)
def test_what_is_simulated_is_told_by_node(
    simulated: dict[str, bool], where: str, driver: str, kind: str
) -> None:
    nodes = [ownership.GpuNode(name, fake, 1, {}) for name, fake in simulated.items()]
    assert ownership.kind_of_devices(nodes, where, driver) == kind


def test_the_one_gpu_is_found_wherever_it_is() -> None:
    wanted = PUBLISHED[1]
    assert ownership.the_one(PUBLISHED, wanted.uuid) == wanted
    assert ownership.the_one(PUBLISHED, "GPU-x") is None
    with pytest.raises(KubeError, match="more than once: a/gpu-1, a/gpu-1"):
        ownership.the_one([*PUBLISHED, wanted], wanted.uuid)


def test_claims_that_hold_it_are_named() -> None:
    claims = [claim("mine", ("a", "gpu-1")), claim("other", ("a", "gpu-0")), claim("waiting")]
    for each in claims:
        each.metadata.namespace = "team"
    assert ownership.holders(claims, PUBLISHED[1]) == ["team/mine"]
    claims[0].status.allocation.devices.results[0].admin_access = True
    assert ownership.holders(claims, PUBLISHED[1]) == []


def test_claims_that_have_any_device_of_a_driver_are_named() -> None:
    claims = [claim("a", ("a", "gpu-1")), claim("b", ("b", "gpu-0")), claim("waiting")]
    assert ownership.users(claims, "gpu.nvidia.com") == ["lab/a", "lab/b"]
    assert ownership.users(claims, "gpu.example.com") == []


@pytest.mark.parametrize(
    ("name", "label", "version"),
    [
        ("any", f"{CHART}-0.5.0", "0.5.0"),
        ("any", f"{CHART}-0.5.0-rc.1", "0.5.0-rc.1"),
        ("any", "nvidia-dra-driver-gpu-25.12.0", "25.12.0"),
        (PLUGIN, None, ""),
        (PLUGIN, "gpu-operator-26.7.0", ""),
    ],
)
def test_a_driver_is_known_by_its_chart_or_its_name(
    name: str, label: str | None, version: str
) -> None:
    item = daemon_set(name, 1, {"helm.sh/chart": label} if label else None)
    other = daemon_set("kube-proxy", 1, {"helm.sh/chart": "kube-proxy-1.0.0"})
    (found,) = ownership.drivers([other, item], CHART, PLUGIN)
    assert ownership.described(found, CHART) == {
        "namespace": "lab",
        "plugin": name,
        "version": version,
    }


@pytest.mark.parametrize(
    ("ready", "cordoned", "taints", "why"),
    [
        ("True", None, [], ""),
        ("False", None, [], "it is not ready"),
        ("True", True, [], "it is cordoned"),
        ("True", None, [("nvidia.com/gpu", "NoSchedule")], "it is tainted nvidia.com/gpu:NoSched"),
        ("True", None, [("soft", "PreferNoSchedule")], ""),
    ],
)
def test_why_pods_would_not_run_on_a_node(
    ready: str, cordoned: bool | None, taints: list[tuple[str, str]], why: str
) -> None:
    found = node("a", ready)
    given = [client.V1Taint(key=key, effect=effect) for key, effect in taints]
    found.spec = client.V1NodeSpec(unschedulable=cordoned, taints=given)
    assert ownership.unusable(found).startswith(why)
    assert bool(ownership.unusable(found)) == bool(why)


def test_a_lab_stays_the_owner_of_its_namespaces_after_a_move_and_on_a_renamed_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does another lab of the same name become their owner."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    mine = SimpleNamespace(labels={ownership.LAB: identity.of("module3")})
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    monkeypatch.chdir((tmp_path / "here").rename(tmp_path / "there"))
    assert ownership.is_ours(mine, "module3")
    assert not ownership.is_ours(mine, "module4")
    for stranger in (None, {}, {ownership.LAB: ""}):
        assert not ownership.is_ours(SimpleNamespace(labels=stranger), "module3")
        assert not ownership.is_ours(SimpleNamespace(labels=stranger), "module5")
    monkeypatch.chdir(tmp_path)
    identity.of("module3")
    assert not ownership.is_ours(mine, "module3")


@pytest.mark.parametrize(
    ("kind", "resource"),
    [
        ("ClusterRole", "clusterroles"),
        ("DeviceClass", "deviceclasses"),
        ("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
        ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
    ],
)
def test_kinds_are_asked_for_as_kubernetes_names_them(kind: str, resource: str) -> None:
    assert plural(kind) == resource


ID = "0123456789ab"


class Objects:
    """Namespaces, and objects by path, or the status with which each is refused."""

    def __init__(self, namespaces: list[str], objects: dict[str, Any]) -> None:
        self.namespaces, self.objects = namespaces, objects
        self.core = SimpleNamespace(list_namespace=None)

    def get(self, _read: Any, label_selector: str) -> Any:
        assert label_selector == f"{ownership.LAB}={ID}"
        named = [SimpleNamespace(metadata=SimpleNamespace(name=name)) for name in self.namespaces]
        return SimpleNamespace(items=named)

    def text(self, path: str) -> str:
        found = self.objects.get(path, 404)
        if isinstance(found, int):
            raise KubeError(f"{path} answers {found}") from refusal(found, "", None)
        return json.dumps({"metadata": found})


ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
OUTSIDE = [f"rbac.authorization.k8s.io/v1 ClusterRole {name}" for name in ("mine", "his", "gone")]


def test_what_is_left_of_a_lab_is_told_and_nothing_of_others() -> None:
    def of(namespace: str) -> dict[str, Any]:
        return {"annotations": {ownership.RELEASED_IN: namespace}}

    kube: Any = Objects(["dra-module3"], {f"{ROLES}/mine": of("driver"), f"{ROLES}/his": of("x")})
    found = ownership.leftovers(kube, ID, ["driver"], OUTSIDE)
    assert found == ["Namespace dra-module3", OUTSIDE[0]]
    assert ownership.leftovers(kube, ID, [""], []) == ["Namespace dra-module3"]


def test_what_may_not_be_read_is_not_taken_for_gone() -> None:
    kube: Any = Objects([], {f"{ROLES}/mine": 403})
    with pytest.raises(KubeError, match="answers 403"):
        ownership.leftovers(kube, ID, ["driver"], OUTSIDE)
