"""The driver runs otherwise for a while: what is changed, what is waited for, and what a start id
says meanwhile. That it works with NVIDIA's driver is for the node tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kube import devices
from machine import cluster_state
from machine.errors import LabError
from operations import driver_profile
from operations.driver_profile import Specification, use
from operations.embedded import cluster as embedded
from tests.unit.fake_kube import (
    KUBECONFIG,
    NAMESPACE,
    FakeApi,
    FakeKube,
    claim,
    gpu_slice,
    node,
    pod,
)

NODE, PLUGIN, WEBHOOK = "gpu-host", "plugin", "webhook"
CONFIGURED = {"FEATURE_GATES": "MPSSupport=true,"}
AS_CONFIGURED = Specification(
    stack="lab",
    kubeconfig=KUBECONFIG,
    namespace=NAMESPACE,
    plugin=PLUGIN,
    driver="gpu.nvidia.com",
    nodes=[NODE],
    gpus_per_node=1,
    gates={"MPSSupport": True},
    shares="",
    namespaces=[NAMESPACE],
    webhook="",
    webhook_gates="",
    start_id="first",
    run="",
)
GATES = {"TimeSlicingSettings": True, "ConsumableShares": True}
SHARED = replace(AS_CONFIGURED, gates=GATES, shares="unlimited", start_id="", run="r1")
CHANGED = {
    "FEATURE_GATES": "ConsumableShares=true,TimeSlicingSettings=true,",
    "CONSUMABLE_SHARES": "unlimited",
}


def workload(name: str, container: str, **status: int) -> Any:
    env = [SimpleNamespace(name=key, value=value) for key, value in CONFIGURED.items()]
    containers = [SimpleNamespace(name=container, env=env)]
    return SimpleNamespace(
        metadata=SimpleNamespace(name=name, namespace=NAMESPACE, uid=name, generation=1),
        spec=SimpleNamespace(
            replicas=1,
            template=SimpleNamespace(spec=SimpleNamespace(containers=containers)),
        ),
        status=SimpleNamespace(observed_generation=1, **status),
    )


def variables(found: Any) -> dict[str, str]:
    (container,) = found.spec.template.spec.containers
    return {each.name: each.value for each in container.env}


class Cluster(FakeKube):
    """With the driver, which publishes as its environment says when its pods are new. stuck: they
    never are."""

    stuck = False

    @property
    def api(self) -> Api:
        return Api(self)

    core = apps = batch = resource = api

    def patched(self, found: Any, body: Any) -> None:
        (told,) = body["spec"]["template"]["spec"]["containers"]
        present = variables(found)
        for each in told["env"]:
            present.pop(each["name"], None)
            if each.get("$patch") != "delete":
                present[each["name"]] = each["value"]
        env = [SimpleNamespace(name=key, value=value) for key, value in present.items()]
        found.spec.template.spec.containers[0].env = env
        found.metadata.generation += 1
        if not self.stuck:
            self.changes.append(lambda: self.roll_out(found))

    def roll_out(self, found: Any) -> None:
        found.status.observed_generation = found.metadata.generation
        if found.metadata.name == PLUGIN:
            shares = variables(found).get("CONSUMABLE_SHARES", "")
            self.changes.append(lambda: self.publish(shares))

    def publish(self, shares: str) -> None:
        self.slices = [gpu_slice(NODE, gpus=1, shares=shares)]


class Api(FakeApi):
    kube: Cluster

    def patch_namespaced_daemon_set(self, name: str, namespace: str, body: Any) -> None:
        self.kube.patched(self.read_namespaced_daemon_set(name, namespace), body)

    def read_namespaced_deployment(self, name: str, namespace: str) -> Any:
        (found,) = (each for each in self.kube.deployments if each.metadata.name == name)
        return found

    def patch_namespaced_deployment(self, name: str, namespace: str, body: Any) -> None:
        self.kube.patched(self.read_namespaced_deployment(name, namespace), body)


@pytest.fixture
def start_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with that of the cluster."""
    monkeypatch.chdir(tmp_path)
    cluster_state.make_folder("lab")
    file = tmp_path / ".run" / "lab" / cluster_state.START_ID
    file.write_text("first")
    return file


@pytest.fixture
def cluster(start_id: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    counts = {"desired_number_scheduled": 1, "updated_number_scheduled": 1, "number_ready": 1}
    made = Cluster(
        nodes=[node(NODE)],
        slices=[gpu_slice(NODE, gpus=1)],
        daemon_sets=[workload(PLUGIN, "gpus", **counts)],
        deployments=[
            workload(WEBHOOK, "webhook", updated_replicas=1, ready_replicas=1, replicas=1)
        ],
    )
    made.stand_in(monkeypatch, driver_profile)
    return made


def test_it_is_changed_and_set_back_to_the_very_same(cluster: Cluster, start_id: Path) -> None:
    (plugin,) = cluster.daemon_sets
    assert "ConsumableShares=true" in use(SHARED)
    assert variables(plugin) == CHANGED
    assert not start_id.exists(), "an update that breaks off now has to be noticed"
    assert cluster.changes == [], "it is published when this ends"
    use(replace(AS_CONFIGURED, run="r1"))
    assert variables(plugin) == CONFIGURED
    assert devices.shares(devices.published(cluster.slices)[0]) == ""
    assert start_id.read_text() == "first"


def test_a_driver_that_runs_so_is_left_alone(cluster: Cluster, start_id: Path) -> None:
    start_id.unlink()
    cluster.claims = [claim("used", (NODE, "gpu-0"))]
    assert use(AS_CONFIGURED) == "it runs so already"
    assert cluster.daemon_sets[0].metadata.generation == 1
    assert start_id.read_text() == "first"


def test_a_driver_that_never_came_is_for_the_check_of_module_2_to_tell(cluster: Cluster) -> None:
    cluster.daemon_sets[0].status.number_ready = 0
    use(AS_CONFIGURED)


def test_it_is_not_changed_while_a_claim_has_a_device(cluster: Cluster) -> None:
    cluster.claims = [claim("used", (NODE, "gpu-0"))]
    with pytest.raises(LabError, match=r"after 60 s its devices are held by lab/used"):
        use(SHARED)
    assert variables(cluster.daemon_sets[0]) == CONFIGURED
    cluster.changes = [cluster.claims.clear]
    use(SHARED)
    assert variables(cluster.daemon_sets[0]) == CHANGED


def test_a_pod_that_a_check_left_does_not_keep_the_driver_from_being_set_back(
    cluster: Cluster,
) -> None:
    use(SHARED)
    cluster.pods = [pod("left", "Running", on=NODE)]
    cluster.claims = [claim("left", (NODE, "gpu-0"), users=["left"])]
    cluster.changes = [cluster.claims.clear]
    use(AS_CONFIGURED)
    assert cluster.pods == []
    assert devices.shares(devices.published(cluster.slices)[0]) == "", "modules come next"
    assert variables(cluster.daemon_sets[0]) == CONFIGURED


def test_pods_of_others_are_left_alone(cluster: Cluster) -> None:
    use(SHARED)
    cluster.pods = [pod("theirs", "Running", on=NODE)]
    cluster.claims = [claim("theirs", (NODE, "gpu-0"), users=["theirs"])]
    with pytest.raises(LabError, match="held by lab/theirs"):
        use(replace(AS_CONFIGURED, namespaces=["ours"]))
    assert len(cluster.pods) == 1


def test_a_driver_that_does_not_come_back_is_told(cluster: Cluster, start_id: Path) -> None:
    cluster.stuck = True
    with pytest.raises(LabError, match="after 120 s plugin is not ready"):
        use(SHARED)
    assert not start_id.exists()


def test_devices_that_are_published_otherwise_are_told(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cluster, "publish", lambda *_: None)
    with pytest.raises(LabError, match="gpu-host/gpu-0 is published with shares ''"):
        use(SHARED)


def test_the_charts_webhook_gets_the_same_gates(cluster: Cluster) -> None:
    use(replace(SHARED, webhook=WEBHOOK))
    assert variables(cluster.deployments[0])["FEATURE_GATES"] == CHANGED["FEATURE_GATES"]


def test_the_clusters_own_webhook_gets_them_too(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(embedded, "tell_webhook", lambda *given: told.append(given))
    use(replace(SHARED, webhook_gates="ConsumableShares=true"))
    assert told == [("lab", "ConsumableShares=true")]
    assert variables(cluster.deployments[0]) == CONFIGURED
