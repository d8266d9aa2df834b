"""What depends on what where this machine is the node."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from tests.mocks import GPU
from tests.unit.graph import Graph, build


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build("module5", node="host")


@pytest.mark.parametrize(
    ("later", "earlier"),
    [
        ("Command/prerequisites-met", "Command/check-prerequisites"),
        ("Command/prerequisites-met", "Command/check-host"),
        ("Command/node", "Command/cluster-running"),
        ("Command/node-running", "Command/node"),
        ("Release/driver", "Command/node-running"),
        ("Command/devices-published", "Release/driver"),
        ("Pod/module4-shared-1", "Command/devices-published"),
        ("Job/module5-percentage-100", "Command/check-mps-sharing"),
        ("Job/module5-percentage-50", "Job/module5-percentage-100"),
        ("Command/verdict", "Command/check-mps-memory"),
    ],
)
def test_what_waits_for_what(graph: Graph, later: str, earlier: str) -> None:
    assert graph.reaches(later, earlier)


def test_networks_of_ones_own_make_another_cluster_and_another_node() -> None:
    given = ["172.30.0.0/20", "172.30.16.0/24", "172.30.20.0/22"]
    found = build("module1", node="host", hostNetworks=json.dumps(given))
    told = dict(zip(("services", "node", "pods"), given, strict=True))
    for name in ("cluster", "node"):
        stdin = json.loads(found.resources[f"Command/{name}"].inputs["stdin"])
        assert stdin["networks"] == told
    asked = json.loads(found.resources["Command/check-host"].inputs["stdin"])
    assert asked["parameters"]["networks"] == told


def test_a_comparison_comes_last_and_makes_its_pods_itself() -> None:
    found = build("module5", node="host", sweep="quick", sweepMinutes="5")
    check = "Command/check-sharing-comparison"
    assert found.reaches(check, "Command/check-mps-memory")
    assert found.reaches(check, "ConfigMap/module5-sharing")
    assert found.reaches("Command/verdict", check)
    told = json.loads(found.resources[check].inputs["stdin"])["parameters"]
    assert (told["sweep"], told["minutes"], told["gpuDriver"]) == ("quick", 5, "580.1")
    assert GPU in json.dumps(told["claim"])
    programs = found.resources["ConfigMap/module5-sharing"].inputs["data"]
    (container,) = told["pod"]["spec"]["containers"]
    assert Path(container["command"][1]).name in programs
    made = {name for name in found.resources if name.startswith(("Pod/", "ResourceClaim/"))}
    assert not {name for name in made if "sharing" in name}


def test_the_driver_is_changed_for_a_part_of_the_comparison_and_set_back() -> None:
    found = build("module5", node="host", sweep="quick")
    order = ["devices-published", "driver-as-configured"]
    order = ["driver-set-back", "check-sharing-comparison-shares", "driver-with-shares",
             "check-sharing-comparison", *order]  # fmt: skip
    assert all(found.reaches(f"Command/{a}", f"Command/{b}") for a, b in pairwise(order))
    told = {
        name: json.loads(found.resources[f"Command/{name}"].inputs["stdin"])
        for name in ("driver-as-configured", "driver-with-shares", "driver-set-back")
    }
    shares, gates = (
        {name: each[key] for name, each in told.items()} for key in ("shares", "webhook_gates")
    )
    assert shares == dict.fromkeys(told, "") | {"driver-with-shares": "unlimited"}
    assert gates == dict.fromkeys(told, "MPSSupport=true") | {
        "driver-with-shares": "ConsumableShares=true,MPSSupport=true,TimeSlicingSettings=true"
    }
    # Until it is set back the cluster has no start id.
    assert [bool(each["start_id"]) for each in told.values()] == [True, False, True]
    assert told["driver-with-shares"]["run"] == told["driver-set-back"]["run"]


@pytest.mark.parametrize(
    "given",
    [
        {"node": "simulated"},
        {"cluster": "kind", "gpus": "mocked", "kubernetesVersion": "1.35.2", "nodeImage": "n:1"},
    ],
    ids=["nothing runs", "Kubernetes without shares"],
)
def test_where_a_driver_has_no_shares_it_is_not_changed(given: dict[str, str]) -> None:
    found = build("module5", sweep="quick", **given)
    assert not [name for name in found.resources if name.startswith("Command/driver-")]
    assert "Command/check-sharing-comparison" in found.resources


def test_without_a_sweep_there_is_no_comparison(graph: Graph) -> None:
    assert not [name for name in graph.resources if "sharing" in name and "mps" not in name]


def test_nothing_of_it_is_simulated(graph: Graph) -> None:
    assert not [name for name in graph.resources if name.startswith(("Node/", "ResourceSlice/"))]
    assert graph.outputs["simulated"] == "none"
    assert graph.outputs["node"]["driverRoot"] == "root-of-driver"


def test_mocked_gpus_are_told_to_the_node_and_to_every_check_of_them() -> None:
    found = build("module3", node="host", gpus="mocked", gpuProfile="t4", gpusPerNode="3")
    told = json.loads(found.resources["Command/node"].inputs["stdin"])["mocked"]
    assert [gpu["product"] for gpu in told] == ["Tesla T4"] * 3
    for name in ("cluster", "driver", "exclusive"):
        stdin = json.loads(found.resources[f"Command/check-{name}"].inputs["stdin"])
        assert stdin["parameters"]["devices"] == "mocked"
    assert found.outputs["simulated"] == "partly"


def test_every_object_is_removed_by_itself(graph: Graph) -> None:
    """The real driver has something to undo for each claim, and is uninstalled after them."""
    assert {r.deleted_with for r in graph.resources.values()} == {""}


def test_claims_name_the_gpu_that_was_found(graph: Graph) -> None:
    claims = [r for name, r in graph.resources.items() if name.startswith("ResourceClaim/")]
    assert claims
    for claim in claims:
        assert GPU in json.dumps(claim.inputs)


def test_the_driver_is_told_where_the_gpu_driver_lies(graph: Graph) -> None:
    release = graph.resources["Release/driver"].inputs
    assert release["values"]["nvidiaDriverRoot"] == "root-of-driver"
    assert release["version"] == "0.5.0"


def test_checks_expect_the_gpus_that_the_machine_has(graph: Graph) -> None:
    told = json.loads(graph.resources["Command/check-driver"].inputs["stdin"])["parameters"]
    assert told["uuids"] == [GPU]
    assert told["gpusPerNode"] == 1
    assert told["devices"] == "gpu"
