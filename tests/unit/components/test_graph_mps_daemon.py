"""The lab's own MPS daemon in the graph: where it runs, when, and what it takes elsewhere."""

from __future__ import annotations

import json

import pytest

from tests.unit.graph import Graph, build

DAEMON = "DaemonSet/mps-daemon"
CLIENTS = ("Pod/module4-client-1", "Pod/module4-client-2", "Pod/module4-other-user")


@pytest.fixture(scope="module")
def both() -> Graph:
    return build("module5", node="host", mps="both")


def test_by_default_nvidias_driver_runs_the_only_daemon() -> None:
    graph = build("module5")
    assert DAEMON not in graph.resources
    assert "Command/check-mps-daemonset" not in graph.resources
    assert not [name for name in graph.resources if "volume" in name.lower()]


def test_a_lab_without_nvidias_daemon_has_the_checks_of_the_other() -> None:
    graph = build("module4", mps="daemonset")
    assert DAEMON in graph.resources
    assert "Command/check-mps-sharing" not in graph.resources
    assert "ResourceClaim/module4-shared-claim" not in graph.resources


@pytest.mark.parametrize("client", CLIENTS)
def test_clients_wait_for_the_daemon_and_their_volume(both: Graph, client: str) -> None:
    assert both.reaches(client, DAEMON)
    assert both.reaches(client, "PersistentVolumeClaim/module4-mps-volume-claim")
    assert both.reaches("Command/check-mps-daemonset", client)


def test_two_daemons_are_never_at_work_on_one_gpu(both: Graph) -> None:
    """Nor on that of module 5, whose claims ask NVIDIA's driver for one."""
    assert both.reaches(DAEMON, "Command/check-mps-sharing")
    assert both.reaches("Namespace/module5", "Command/check-mps-daemonset")


def test_the_comparison_has_a_daemon_without_limits_between_the_drivers_own_ways() -> None:
    graph = build("module5", node="host", mps="both", sweep="quick")
    daemon = "DaemonSet/mps-comparison"
    (container,) = graph.resources[daemon].inputs["spec"]["template"]["spec"]["containers"]
    assert [each for each in container["command"] if each.startswith("--")] == ["--threads=100"]
    by_daemonset = "Command/check-sharing-comparison-daemonset"
    assert graph.reaches(daemon, "Command/check-sharing-comparison")
    assert graph.reaches(by_daemonset, daemon)
    assert graph.reaches(by_daemonset, "PersistentVolumeClaim/module5-mps-volume-claim")
    assert graph.reaches("Command/driver-with-shares", by_daemonset)
    parts = {
        name: json.loads(graph.resources[name].inputs["stdin"])["parameters"]
        for name in graph.resources
        if name.startswith("Command/check-sharing-comparison")
    }
    assert [(each["parts"], each["last"]) for each in parts.values()] == [
        (["configured"], False),
        (["daemonset"], False),
        (["shares"], True),
    ]


def test_a_comparison_without_the_labs_daemon_says_that_its_part_is_skipped() -> None:
    graph = build("module5", node="host", sweep="quick")
    stdin = graph.resources["Command/check-sharing-comparison"].inputs["stdin"]
    assert json.loads(stdin)["parameters"]["parts"] == ["configured", "daemonset"]
    assert "DaemonSet/mps-comparison" not in graph.resources


def test_it_runs_on_the_node_of_the_gpu_for_that_gpu(both: Graph) -> None:
    spec = both.resources[DAEMON].inputs["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"kubernetes.io/hostname": "gpu-host"}
    given = json.loads(both.resources["Command/check-mps-daemonset"].inputs["stdin"])
    for container in (*spec["initContainers"], *spec["containers"]):
        variables = {each["name"]: each.get("value") for each in container["env"]}
        assert variables["MPS_GPU"] == given["parameters"]["uuid"]
        assert "DRA_WORKSHOP_RUN" in variables
    volume = both.resources["PersistentVolume/module4-mps-volume"].inputs["spec"]
    (term,) = volume["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["gpu-host"]


@pytest.mark.parametrize(("limit", "found"), [("2Gi", ["--memory=2048M"]), ("none", [])])
def test_its_memory_limit_is_that_of_the_settings(limit: str, found: list[str]) -> None:
    graph = build("module4", mps="daemonset", mpsMemoryLimit=limit)
    (daemon,) = graph.resources[DAEMON].inputs["spec"]["template"]["spec"]["containers"]
    assert [each for each in daemon["command"] if each.startswith("--memory")] == found
    client = graph.resources["Pod/module4-client-2"].inputs["spec"]["containers"][0]
    variables = {each["name"]: each.get("value") for each in client["env"]}
    assert variables.get("CUDA_MPS_PINNED_DEVICE_MEM_LIMIT") == ("0=1024M" if found else None)
    asked = client["command"][client["command"].index("--allocate") + 1]
    assert asked == ("256" if found else "--start-file")


def test_only_mocked_gpus_have_their_state_mounted(both: Graph) -> None:
    mocked = build("module4", node="host", gpus="mocked", mps="both")
    found = [
        [
            each["name"]
            for each in graph.resources[DAEMON].inputs["spec"]["template"]["spec"]["volumes"]
        ]
        for graph in (both, mocked)
    ]
    assert "mocked" not in found[0]
    assert "mocked" in found[1]


def test_a_shared_cluster_is_asked_for_what_the_daemon_takes() -> None:
    chosen = {"cluster": "existing", "context": "prod"}
    chosen["target"] = "GPU-b83343f0-ddfa-f18f-c57a-6148685663c8"
    for mps, asked in (("driver", False), ("both", True)):
        graph = build("module4", **chosen, mps=mps)
        given = json.loads(graph.resources["Command/check-existing"].inputs["stdin"])["parameters"]
        assert ("create persistentvolumes" in given["makes"]) is asked
        assert ("create persistentvolumeclaims in dra-module4" in given["makes"]) is asked
        assert ("create daemonsets.apps in dra-mps" in given["makes"]) is asked
        assert ("dra-mps" in given["namespaces"]) is asked
