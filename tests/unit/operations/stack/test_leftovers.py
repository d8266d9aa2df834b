"""What the configuration does not name any more is removed, and nothing else is touched."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes import client

from machine.errors import LabError
from operations.stack import leftovers
from tests.unit.fake_kube import (
    FORBIDDEN,
    FORBIDDEN_TEXT,
    KUBECONFIG,
    NOT_FOUND,
    FakeApi,
    FakeKube,
    gpu_slice,
    job,
    node,
    pod,
)

LABELS = {"dra-workshop/lab": "mine"}


@dataclass
class Cluster(FakeKube):
    """done: what was changed, in order; stuck: pods that do not end."""

    namespaces: list[Any] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    stuck: set[str] = field(default_factory=set)

    @property
    def api(self) -> Api:
        return Api(self)

    core = apps = batch = resource = api

    def has_node(self, name: str, *, simulated: bool = True) -> None:
        made = node(name)
        made.metadata.labels = {leftovers.SIMULATED: "true"} if simulated else {}
        self.nodes.append(made)
        self.slices.append(gpu_slice(name, 1))

    def has_namespace(self, name: str, labels: dict[str, str] | None = None) -> None:
        metadata = client.V1ObjectMeta(name=name, labels=labels)
        self.namespaces.append(SimpleNamespace(metadata=metadata))

    def has_pod(self, name: str, namespace: str, on: str = "a-node", owner: str = "") -> None:
        made = pod(name, "Running", on)
        made.metadata.namespace = namespace
        owners = [client.V1OwnerReference(api_version="v1", kind=owner, name="x", uid="x")]
        made.metadata.owner_references = owners if owner else None
        self.pods.append(made)


@dataclass
class Api(FakeApi):
    kube: Cluster

    def list_namespace(self, **_: Any) -> Any:
        self.answer("list_namespace")
        return SimpleNamespace(items=self.kube.namespaces)

    def list_node(self, **selection: str) -> Any:
        return self._list("list_node", self.kube.nodes, **selection)

    def list_pod_for_all_namespaces(self, field_selector: str) -> Any:
        return self._on_node("list_pod_for_all_namespaces", self.kube.pods, field_selector)

    def list_resource_slice(self, field_selector: str = "spec.nodeName=") -> Any:
        return self._on_node("list_resource_slice", self.kube.slices, field_selector)

    def _on_node(self, call: str, items: list[Any], field_selector: str) -> Any:
        self.answer(call)
        name = field_selector.removeprefix("spec.nodeName=")
        return SimpleNamespace(items=[i for i in items if i.spec.node_name == name])

    def patch_node(self, name: str, body: Any) -> None:
        assert body == {"spec": {"unschedulable": True}}
        self.kube.done.append(f"cordon {name}")

    def delete_node(self, name: str, **_: Any) -> None:
        self._delete("node", self.kube.nodes, name)

    def delete_resource_slice(self, name: str, **_: Any) -> None:
        self._delete("slice", self.kube.slices, name)

    def delete_namespaced_pod(self, name: str, namespace: str, **_: Any) -> None:
        self._delete("pod", self.kube.pods, name, namespace)

    def delete_namespaced_job(self, name: str, namespace: str, **options: Any) -> None:
        assert options["propagation_policy"] == "Background"
        self._delete("job", self.kube.jobs, name, namespace)

    def _delete(self, kind: str, items: list[Any], name: str, namespace: str = "") -> None:
        self.answer(f"delete {kind}")
        self.kube.done.append(f"delete {kind} {name}")
        for item in items:
            if item.metadata.name == name and namespace in ("", item.metadata.namespace):
                if name not in self.kube.stuck:
                    items.remove(item)
                return
        raise NOT_FOUND


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    made.stand_in(monkeypatch, leftovers)
    for name in ("gpu-node-0", "gpu-node-1"):
        made.has_node(name)
    for name in ("dra-module3", "dra-module4"):
        made.has_namespace(name, LABELS)
    return made


def remove(
    nodes: list[str] | None = None,
    namespaces: list[str] | None = None,
    labels: dict[str, str] | None = None,
) -> list[str]:
    wanted = leftovers.Specification(KUBECONFIG, nodes or [], namespaces or [], labels or {})
    return leftovers.remove(wanted)


def test_a_node_goes_after_its_pods_and_its_slices(cluster: Cluster) -> None:
    cluster.has_pod("theirs", "default", on="gpu-node-1")
    cluster.has_pod("elsewhere", "default", on="gpu-node-0")
    cluster.has_pod("plugin", "driver", on="gpu-node-1", owner="DaemonSet")
    slice_of = cluster.slices[1].metadata.name
    assert remove(nodes=["gpu-node-1", "gpu-node-2"]) == ["node gpu-node-1"]
    assert cluster.done == [
        "cordon gpu-node-1",
        "delete pod theirs",
        f"delete slice {slice_of}",
        "delete node gpu-node-1",
    ]
    assert [item.metadata.name for item in cluster.nodes] == ["gpu-node-0"]


def test_a_real_node_of_that_name_stays(cluster: Cluster) -> None:
    cluster.has_node("gpu-node-5", simulated=False)
    assert remove(nodes=["gpu-node-5"]) == []
    assert cluster.done == []


def test_pods_and_jobs_of_a_module_that_is_not_wanted_end(cluster: Cluster) -> None:
    step = job("percentage-20", "2027-01-01T00:00:00Z", None)
    step.metadata.namespace = "dra-module4"
    cluster.jobs.append(step)
    cluster.has_pod("shared-1", "dra-module4")
    cluster.has_pod("pod-1", "dra-module3")
    assert remove(namespaces=["dra-module4", "dra-module5"]) == ["pod dra-module4/shared-1"]
    assert cluster.done == ["delete job percentage-20", "delete pod shared-1"]


def test_on_a_shared_cluster_only_in_namespaces_of_the_lab(cluster: Cluster) -> None:
    cluster.has_namespace("dra-module5")
    cluster.has_pod("a-strangers", "dra-module5")
    cluster.has_pod("shared-1", "dra-module4")
    removed = remove(namespaces=["dra-module4", "dra-module5"], labels=LABELS)
    assert removed == ["pod dra-module4/shared-1"]
    assert [item.metadata.name for item in cluster.pods] == ["a-strangers"]


def test_nothing_to_remove_is_no_error_and_asks_nothing(cluster: Cluster) -> None:
    cluster.refusals = {"*": FORBIDDEN}
    assert remove() == []


def test_what_has_gone_meanwhile_is_no_error(cluster: Cluster) -> None:
    cluster.has_pod("shared-1", "dra-module4")
    cluster.refusals = {"delete pod": NOT_FOUND}
    cluster.changes = [cluster.pods.clear]
    assert remove(namespaces=["dra-module4"]) == ["pod dra-module4/shared-1"]


def test_what_stays_is_named(cluster: Cluster) -> None:
    cluster.has_pod("shared-1", "dra-module4")
    cluster.stuck = {"shared-1"}
    with pytest.raises(LabError, match="after 60 s still there: shared-1"):
        remove(namespaces=["dra-module4"])


def test_a_refusal_is_told(cluster: Cluster) -> None:
    cluster.has_pod("shared-1", "dra-module4")
    cluster.refusals = {"delete pod": FORBIDDEN}
    with pytest.raises(LabError, match=FORBIDDEN_TEXT):
        remove(namespaces=["dra-module4"])
