"""Module 1 says what a cluster lacks: its version, DRA, a feature gate, an API, a node."""

from __future__ import annotations

from typing import Any

import pytest

from checks.modules import cluster
from kube import devices
from tests.unit.fake_kube import (
    BROKEN,
    BROKEN_TEXT,
    FORBIDDEN,
    FORBIDDEN_TEXT,
    KUBECONFIG,
    NOT_FOUND,
    NOT_FOUND_TEXT,
    UNREACHABLE,
    UNREACHABLE_TEXT,
    FakeKube,
    findings,
    node,
    statuses,
)

KINDS = "deviceclasses, resourceclaims, resourceclaimtemplates, resourceslices"
METRICS = """\
# TYPE kubernetes_feature_enabled gauge
kubernetes_feature_enabled{name="DRAAdminAccess",stage="BETA"} 1
kubernetes_feature_enabled{name="DRAConsumableCapacity",stage="ALPHA"} 0
# TYPE apiserver_request_total counter
apiserver_request_total{code="200"} 7
"""
PARAMETERS = {
    "kubeconfig": KUBECONFIG,
    "clusterOwned": True,
    "kubernetesVersion": "1.37.2",
    "featureGates": ["DRAAdminAccess=true", "DRAConsumableCapacity=false"],
    "runtimeConfig": ["resource.k8s.io/v1beta2=true", "resource.k8s.io/v1beta1=false"],
    "nodes": ["gpu-node-0", "gpu-node-1"],
    "devices": devices.SIMULATED,
}


@pytest.fixture
def kube(monkeypatch: pytest.MonkeyPatch) -> FakeKube:
    """A cluster of which everything holds."""
    monkeypatch.setattr("checks.modules.cluster.client.VersionApi", lambda api: api)
    monkeypatch.setattr("checks.modules.cluster.client.ResourceV1Api", lambda api: api)
    monkeypatch.setattr("checks.modules.cluster.client.ApisApi", lambda api: api)
    return FakeKube(
        nodes=[node("gpu-node-0"), node("gpu-node-1")],
        resources=[*cluster.KINDS, "resourceclaims/status"],
        served=["apps/v1", "resource.k8s.io/v1", "resource.k8s.io/v1beta2"],
        metrics=METRICS,
    ).stand_in(monkeypatch, cluster)


def run(**changed: Any) -> dict[str, Any]:
    return cluster.run("1", PARAMETERS | changed)


def failed(identity: str) -> str:
    """Run it; what was found where the statement did not hold."""
    result = run()
    assert result["status"] == "failed"
    finding = findings(result)[identity]
    assert finding["status"] == "failed"
    return str(finding["found"])


def test_a_good_cluster_passes_and_says_what_it_has(kube: FakeKube) -> None:
    result = run()
    assert [finding["id"] for finding in result["checks"]] == [
        "api-version",
        "dra-served",
        "feature-gates-set",
        "runtime-config-set",
        "nodes-ready",
    ]
    assert (result["module"], result["status"]) == ("1", "passed")
    assert {identity: f["found"] for identity, f in findings(result).items()} == {
        "api-version": "1.37.2",
        "dra-served": KINDS,
        "feature-gates-set": "DRAAdminAccess=true, DRAConsumableCapacity=false",
        "runtime-config-set": "resource.k8s.io/v1beta2=true, resource.k8s.io/v1beta1=false",
        "nodes-ready": "gpu-node-0, gpu-node-1",
    }


@pytest.mark.parametrize(
    ("kind", "basis"), [(devices.SIMULATED, "simulated"), (devices.MOCKED, "real")]
)
def test_only_the_nodes_can_be_simulated(kube: FakeKube, kind: str, basis: str) -> None:
    found = {
        identity: finding["basis"] for identity, finding in findings(run(devices=kind)).items()
    }
    assert found.pop("nodes-ready") == basis
    assert {*found.values()} == {"real"}


def test_another_version_fails_and_the_rest_is_not_looked_at(kube: FakeKube) -> None:
    kube.version = "v1.34.0"
    result = run()
    assert statuses(result) == {
        "api-version": "failed",
        "dra-served": "needs api-version",
        "feature-gates-set": "needs api-version",
        "runtime-config-set": "needs api-version",
        "nodes-ready": "needs api-version",
    }
    finding = findings(result)["api-version"]
    assert (finding["expected"], finding["found"]) == ("1.37.2", "1.34.0")
    assert "make logs" in finding["remedy"]


def test_an_api_server_that_is_not_there_is_said_once(kube: FakeKube) -> None:
    kube.refusals["*"] = UNREACHABLE
    assert failed("api-version") == UNREACHABLE_TEXT
    assert set(list(statuses(run()).values())[1:]) == {"needs api-version"}


def test_a_kind_of_dra_that_is_not_served_is_named(kube: FakeKube) -> None:
    kube.resources.remove("resourceslices")
    assert failed("dra-served") == "not served: resourceslices"
    finding = findings(run())["dra-served"]
    assert (finding["expected"], finding["remedy"]) == (KINDS, "use Kubernetes 1.34 or later")


def test_a_cluster_without_dra_fails(kube: FakeKube) -> None:
    kube.refusals["get_api_resources"] = NOT_FOUND
    assert failed("dra-served") == NOT_FOUND_TEXT


@pytest.mark.parametrize(
    "gate", ["DRAAdminAccess=false", "DRAConsumableCapacity=true", "NoSuchGate=true"]
)
def test_a_gate_that_is_not_as_asked_for_is_named(kube: FakeKube, gate: str) -> None:
    finding = findings(run(featureGates=["DRAAdminAccess=true", gate]))["feature-gates-set"]
    assert (finding["status"], finding["found"]) == ("failed", f"not as asked: {gate}")
    assert finding["expected"] == f"DRAAdminAccess=true, {gate}"


def test_without_gates_asked_for_the_defaults_are_counted(kube: FakeKube) -> None:
    finding = findings(run(featureGates=[]))["feature-gates-set"]
    assert finding["expected"] == "defaults"
    assert finding["found"] == "2 gates at their defaults"


def test_metrics_that_are_refused_fail_the_gates_alone(kube: FakeKube) -> None:
    kube.refusals["metrics"] = FORBIDDEN
    assert failed("feature-gates-set") == FORBIDDEN_TEXT
    assert findings(run())["nodes-ready"]["status"] == "passed"


@pytest.mark.parametrize(
    ("switch", "found"),
    [
        ("resource.k8s.io/v1beta2=false", "resource.k8s.io/v1beta2 is served"),
        ("resource.k8s.io/v1beta1=true", "resource.k8s.io/v1beta1 is not served"),
        ("resource.k8s.io/v9=true", "resource.k8s.io/v9 is not served"),
    ],
)
def test_an_api_that_is_not_switched_as_asked_for_is_named(
    kube: FakeKube, switch: str, found: str
) -> None:
    result = run(runtimeConfig=["resource.k8s.io/v1=true", switch])
    finding = findings(result)["runtime-config-set"]
    assert (result["status"], finding["status"], finding["found"]) == ("failed", "failed", found)
    assert finding["expected"] == f"resource.k8s.io/v1=true, {switch}"
    assert finding["remedy"].startswith("correct runtimeConfig")
    assert findings(result)["nodes-ready"]["status"] == "passed"


@pytest.mark.parametrize("switch", ["api/all=true", "api/beta=false"])
def test_a_switch_of_many_apis_is_taken_as_it_is(kube: FakeKube, switch: str) -> None:
    finding = findings(run(runtimeConfig=[switch]))["runtime-config-set"]
    assert (finding["status"], finding["found"]) == ("passed", switch)


def test_without_apis_to_switch_those_served_are_counted(kube: FakeKube) -> None:
    finding = findings(run(runtimeConfig=[]))["runtime-config-set"]
    assert (finding["expected"], finding["found"]) == ("defaults", "3 API versions served")


def test_api_versions_that_cannot_be_listed_fail_alone(kube: FakeKube) -> None:
    kube.refusals["get_api_versions"] = FORBIDDEN
    assert failed("runtime-config-set") == FORBIDDEN_TEXT
    assert list(statuses(run()).values()).count("passed") == 4


@pytest.mark.parametrize("state", ["False", "Unknown"])
def test_a_node_that_is_not_ready_in_time_is_named(kube: FakeKube, state: str) -> None:
    kube.nodes[1] = node("gpu-node-1", state)
    assert failed("nodes-ready") == "after 30 s not ready: gpu-node-1"


def test_a_node_whose_state_nobody_told_is_not_ready(kube: FakeKube) -> None:
    kube.nodes[0].status = None
    assert failed("nodes-ready") == "after 30 s not ready: gpu-node-0"


def test_nodes_that_are_missing_are_named(kube: FakeKube) -> None:
    kube.nodes.clear()
    assert failed("nodes-ready") == "after 30 s not ready: gpu-node-0, gpu-node-1"


def test_a_node_that_becomes_ready_in_time_passes(kube: FakeKube) -> None:
    late = kube.nodes.pop()
    kube.changes = [lambda: kube.nodes.append(late)]
    assert run()["status"] == "passed"


def test_other_nodes_do_not_matter(kube: FakeKube) -> None:
    kube.nodes.append(node("stranger", "False"))
    assert run()["status"] == "passed"


def test_nodes_that_cannot_be_listed_fail(kube: FakeKube) -> None:
    kube.refusals["list_node"] = BROKEN
    assert failed("nodes-ready") == BROKEN_TEXT


# --- a cluster of others -------------------------------------------------------------------------

SHARED = {"clusterOwned": False, "featureGates": [], "runtimeConfig": []}


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ("v1.34.2", "passed"),
        ("v1.37.0", "passed"),
        ("v1.34.2-gke.1068000", "passed"),
        ("v1.36.1-eks-0123abc", "passed"),
        ("v1.35.0+k3s1", "passed"),
        ("v1.34.1", "failed"),
        ("v1.34.1-gke.5000000", "failed"),
        ("v1.9.0", "failed"),
        ("newest", "failed"),
    ],
)
def test_any_version_that_is_new_enough_will_do(kube: FakeKube, version: str, status: str) -> None:
    kube.version = version
    assert findings(run(**SHARED))["api-version"]["status"] == status


def test_gates_that_are_hidden_are_skipped_there_even_when_asked_for(kube: FakeKube) -> None:
    kube.refusals["metrics"] = FORBIDDEN
    for asked in ([], ["DRAAdminAccess=true"]):
        found = findings(run(**SHARED | {"featureGates": asked}))["feature-gates-set"]
        assert found["status"] == "skipped"
        assert FORBIDDEN_TEXT in found["found"]


def test_gates_that_are_visible_are_compared_there(kube: FakeKube) -> None:
    found = findings(run(**SHARED | {"featureGates": ["DRAAdminAccess=false"]}))
    assert found["feature-gates-set"]["status"] == "failed"


def test_where_no_node_is_known_one_that_is_ready_will_do(kube: FakeKube) -> None:
    kube.nodes = [node("a", "False"), node("b")]
    found = findings(run(**SHARED | {"nodes": []}))["nodes-ready"]
    assert (found["status"], found["found"]) == ("passed", "1 of 2 nodes ready")
    kube.nodes.pop()
    found = findings(run(**SHARED | {"nodes": []}))["nodes-ready"]
    assert (found["status"], found["found"]) == ("failed", "none of 1 nodes is ready")
