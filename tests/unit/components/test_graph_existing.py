"""What a lab makes on a cluster of others, and in which order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components import program, sources
from components.chart import outside
from kube.ownership import LAB
from kube.permissions import DRA, Permission, on, within
from tests.unit.graph import Graph, build

TARGET = "GPU-b83343f0-ddfa-f18f-c57a-6148685663c8"
CHOSEN = {"cluster": "existing", "context": "prod", "target": TARGET}


@pytest.fixture(scope="module")
def graph() -> Graph:
    """The driver is there."""
    return build("module3", **CHOSEN)


@pytest.fixture(scope="module")
def installing() -> Graph:
    return build("module3", **CHOSEN, installDriver="true")


def stdin(graph: Graph, command: str) -> dict[str, Any]:
    given: dict[str, Any] = json.loads(graph.resources[f"Command/{command}"].inputs["stdin"])
    return given


@pytest.mark.parametrize(
    ("later", "earlier"),
    [
        ("Command/prerequisites-met", "Command/check-existing"),
        ("Command/cluster", "Command/prerequisites-met"),
        ("Command/cluster-running", "Command/cluster"),
        ("kubernetes/cluster", "Command/cluster-running"),
        ("Command/devices-published", "Command/cluster-running"),
        ("Command/devices-published", "Command/leftovers-removed"),
        ("Namespace/module3", "Command/devices-published"),
        ("Command/check-driver", "Command/check-cluster"),
        ("Command/verdict", "Command/check-exclusive"),
    ],
)
def test_what_waits_for_what(graph: Graph, later: str, earlier: str) -> None:
    assert graph.reaches(later, earlier)


def test_only_pods_of_the_lab_itself_are_left_over(graph: Graph) -> None:
    told = stdin(graph, "leftovers-removed")
    assert told["nodes"] == []
    assert {"dra-module4", "dra-module5"} <= {*told["namespaces"]}
    assert "dra-module3" not in told["namespaces"]
    assert told["labels"] == {LAB: "of-this-lab"}


def objects(graph: Graph) -> set[str]:
    kinds = ("kubernetes:core", "kubernetes:resource", "kubernetes:helm", "kubernetes:batch")
    return {name for name, r in graph.resources.items() if r.type.startswith(kinds)}


def test_with_a_driver_there_only_the_modules_own_objects_are_made(graph: Graph) -> None:
    made = {name.partition("/")[0] for name in objects(graph)}
    assert made == {"Namespace", "ResourceClaim", "ConfigMap", "Pod"}
    assert len([name for name in objects(graph) if name.startswith("Namespace/")]) == 1


def test_a_driver_is_brought_only_when_that_is_asked_for(installing: Graph) -> None:
    assert objects(installing) - objects(build("module3", **CHOSEN)) == {
        "Release/driver", "Namespace/driver",
    }  # fmt: skip


@pytest.mark.parametrize("which", ["graph", "installing"])
def test_nothing_that_is_there_is_taken_over(which: str, request: pytest.FixtureRequest) -> None:
    found: Graph = request.getfixturevalue(which)
    provider = found.resources["kubernetes/cluster"].inputs
    assert str(provider["upsertExistingObjects"]).lower() == "false"
    assert {r.deleted_with for r in found.resources.values()} == {""}


@pytest.mark.parametrize("which", ["graph", "installing"])
def test_namespaces_say_whose_they_are(which: str, request: pytest.FixtureRequest) -> None:
    found: Graph = request.getfixturevalue(which)
    for name in objects(found):
        if name.startswith("Namespace/"):
            assert found.resources[name].inputs["metadata"]["labels"][LAB] == "of-this-lab"


def test_the_preflight_knows_what_will_be_made(graph: Graph, installing: Graph) -> None:
    told = stdin(graph, "check-existing")["parameters"]
    assert (told["context"], told["target"], told["install"]) == ("prod", TARGET, False)
    assert told["namespaces"] == ["dra-module3"]
    brought = stdin(installing, "check-existing")["parameters"]
    assert brought["namespaces"] == ["dra-driver-nvidia-gpu", "dra-module3"]
    assert brought["outside"] == ["resource.k8s.io/v1 DeviceClass gpu.nvidia.com"]
    assert installing.outputs["driver"]["outside"] == brought["outside"]


def test_nothing_has_to_be_imported_on_the_nodes_of_others(graph: Graph) -> None:
    """Set-up's images are in no registry."""
    told = stdin(graph, "check-existing")["parameters"]["workloadImage"]
    assert told.startswith("docker.io/library/python:3.")
    pods = [r.inputs["spec"] for name, r in graph.resources.items() if name.startswith("Pod/")]
    assert {each["image"] for pod in pods for each in pod["containers"]} == {told}
    example = build("module3", **CHOSEN, installDriver="true", driver="example")
    for resource in example.resources.values():
        assert "localhost/" not in json.dumps(resource.inputs, default=str)


def test_the_preflight_asks_for_all_that_will_be_made(graph: Graph, installing: Graph) -> None:
    told = stdin(graph, "check-existing")["parameters"]
    assert told["modules"]["1"] == {"namespaces": [], "checks": ["cluster"]}
    assert told["modules"]["3"] == {"namespaces": ["dra-module3"], "checks": ["exclusive"]}
    # Other permissions in one of these programs are another question to the cluster.
    assert told["digest"] == program.digest(*sources.of_check("cluster", "driver", "exclusive"))
    made = {Permission.parse(each) for each in told["makes"]}
    assert made >= {*within("dra-module3", on("pods", "create", "get", "watch", "delete"))}
    assert not [each for each in made if each.resource in ("jobs", "secrets")]
    told = stdin(installing, "check-existing")["parameters"]
    assert {Permission.parse(each) for each in told["makes"]} - made == {
        *on("deviceclasses", "create", "get", "delete", group=DRA),
        *within("dra-driver-nvidia-gpu", on("namespaces", "get", "delete")),
        *within(
            "dra-driver-nvidia-gpu",
            on("secrets", "create", "get", "list", "update", "delete"),
        ),
    }


def test_checks_expect_no_numbers_and_look_at_the_one_gpu(graph: Graph) -> None:
    for command in ("devices-published", "check-driver"):
        told = stdin(graph, command)
        told = told.get("parameters", told)
        assert (told["clusterOwned"], told["target"]) == (False, TARGET)
    assert stdin(graph, "check-cluster")["parameters"]["clusterOwned"] is False


def test_claims_name_the_one_gpu(graph: Graph) -> None:
    claims = [r for name, r in graph.resources.items() if name.startswith("ResourceClaim/")]
    assert claims
    for claim in claims:
        assert TARGET in json.dumps(claim.inputs)


def test_no_kubeconfig_goes_through_the_graph(graph: Graph) -> None:
    for resource in graph.resources.values():
        assert "BEGIN" not in json.dumps(resource.inputs, default=str)


def test_what_is_outside_is_all_that_is_not_known_to_be_inside() -> None:
    def item(kind: str, name: str) -> dict[str, Any]:
        metadata = {"name": name, "namespace": "driver"}  # the renderer gives one to all
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata}

    rendered = [item("DaemonSet", "a"), item("Unheard", "c"), item("ClusterRole", "b")]
    assert outside(rendered) == ["v1 ClusterRole b", "v1 Unheard c"]
    assert outside([]) == []
