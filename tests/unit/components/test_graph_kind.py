"""What depends on what where the nodes are containers of this machine, with mocks or with GPUs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components import gpu_host
from components.simulated_gpus import gpu_uuid
from machine import kind_places
from machine.kind_images import versions
from tests.mocks import GPU
from tests.unit.graph import Graph, build

GRAPHS = {"example": ("module3", {"driver": "example"}), "nvidia": ("module5", {})}


@pytest.fixture(scope="module")
def graphs() -> dict[str, Graph]:
    return {
        driver: build(stack, cluster="kind", **changes)
        for driver, (stack, changes) in GRAPHS.items()
    }


@pytest.fixture(scope="module")
def example(graphs: dict[str, Graph]) -> Graph:
    return graphs["example"]


@pytest.fixture(scope="module")
def nvidia(graphs: dict[str, Graph]) -> Graph:
    return graphs["nvidia"]


def stdin(graph: Graph, command: str) -> dict[str, Any]:
    given: dict[str, Any] = json.loads(graph.resources[f"Command/{command}"].inputs["stdin"])
    return given


def claims(graph: Graph) -> list[dict[str, Any]]:
    found = [
        resource.inputs["spec"]["devices"]["requests"][0]["exactly"]
        for name, resource in graph.resources.items()
        if name.startswith("ResourceClaim/")
    ]
    assert found
    return found


@pytest.mark.parametrize("driver", GRAPHS)
@pytest.mark.parametrize(
    ("later", "earlier"),
    [
        ("Command/prerequisites-met", "Command/check-workstation"),
        ("Command/cluster", "Command/prerequisites-met"),
        ("Command/cluster-running", "Command/cluster"),
        ("kubernetes/cluster", "Command/cluster-running"),
        ("Command/check-cluster", "Command/cluster-running"),
        ("Release/driver", "Command/cluster-running"),
        ("Release/driver", "Namespace/driver"),
        ("Command/devices-published", "Release/driver"),
        ("Command/check-driver", "Release/driver"),
        ("Command/verdict", "Command/check-driver"),
    ],
)
def test_what_waits_for_what(
    graphs: dict[str, Graph], driver: str, later: str, earlier: str
) -> None:
    assert graphs[driver].reaches(later, earlier)


@pytest.mark.parametrize(
    ("later", "earlier"),
    [
        ("Command/gpu-host", "Command/prerequisites-met"),
        ("Command/cluster", "Command/gpu-host"),
        ("Pod/module4-shared-1", "Command/devices-published"),
        ("Job/module5-percentage-100", "Command/check-mps-sharing"),
    ],
)
def test_gpus_are_asked_for_before_the_cluster_is_made(
    nvidia: Graph, later: str, earlier: str
) -> None:
    assert nvidia.reaches(later, earlier)


@pytest.mark.parametrize(
    ("later", "earlier"),
    [
        ("ResourceClaim/module3-claim-1", "Command/devices-published"),
        ("Pod/module3-pod-1", "ResourceClaim/module3-claim-1"),
        ("Pod/module3-pod-2", "Pod/module3-pod-1"),
        ("Command/check-exclusive", "Pod/module3-pod-2"),
    ],
)
def test_which_mock_is_claimed_is_known_when_they_are_published(
    example: Graph, later: str, earlier: str
) -> None:
    assert example.reaches(later, earlier)


@pytest.mark.parametrize("driver", GRAPHS)
def test_every_object_is_removed_by_itself(graphs: dict[str, Graph], driver: str) -> None:
    """The driver has something to undo for each claim, and is uninstalled after them."""
    graph = graphs[driver]
    assert {resource.deleted_with for resource in graph.resources.values()} == {""}
    for name in graph.resources:
        if name.startswith(("Pod/", "Job/", "ResourceClaim/")):
            assert graph.reaches(name, "Release/driver")


@pytest.mark.parametrize("driver", GRAPHS)
def test_nothing_is_made_in_the_place_of_a_node(graphs: dict[str, Graph], driver: str) -> None:
    made = graphs[driver].resources
    assert not [name for name in made if name.startswith(("Node/", "ResourceSlice/"))]


@pytest.mark.parametrize("driver", GRAPHS)
def test_commands_carry_no_absolute_path(graphs: dict[str, Graph], driver: str) -> None:
    for resource in graphs[driver].resources.values():
        if resource.type == "command:local:Command":
            assert resource.inputs["create"].startswith(".venv/bin/python -m ")
            assert '"/' not in resource.inputs["stdin"]


def test_the_cluster_is_made_by_kind_with_the_images_of_set_up(example: Graph) -> None:
    command = example.resources["Command/cluster"].inputs
    assert command["create"].endswith("operations kind create")
    assert command["delete"].endswith("operations kind down --stack module3")
    assert stdin(example, "cluster") == {
        "stack": "module3",
        "kubernetes_version": versions()[0],
        "feature_gates": [],
        "runtime_config": [],
        "image": "",
        "images": [".tools/images/workload.tar", ".tools/images/dra-example-driver.tar"],
        "workers": [{}],
    }


def test_mocks_are_claimed_by_the_class_of_their_driver(example: Graph) -> None:
    for claim in claims(example):
        assert claim["deviceClassName"] == "gpu.example.com"
        (selector,) = claim["selectors"]
        expression = f'device.attributes["gpu.example.com"].uuid == "{GPU}"'
        assert selector["cel"]["expression"] == expression


def test_the_example_driver_is_told_how_many_mocks_to_publish() -> None:
    graph = build("module3", cluster="kind", driver="example", nodes="3", gpusPerNode="4")
    release = graph.resources["Release/driver"].inputs
    assert release["name"] == release["namespace"] == "dra-example-driver"
    assert release["values"]["kubeletPlugin"] == {"numDevices": 4}
    assert release["values"]["image"]["repository"] == "localhost/dra-workshop/dra-example-driver"
    published = stdin(graph, "devices-published")
    workers = [f"dra-workshop-module3-worker{number}" for number in ("", "2", "3")]
    assert (published["gpusPerNode"], published["nodes"]) == (4, workers)
    assert stdin(graph, "cluster")["workers"] == [{}, {}, {}]
    told = stdin(graph, "check-driver")["parameters"]
    assert (told["devices"], told["uuids"]) == ("mock", [])
    assert told["classes"] == ["gpu.example.com"]


def test_mocked_gpus_are_made_in_the_nodes_and_this_machine_is_not_asked() -> None:
    graph = build("module5", cluster="kind", gpus="mocked", nodes="2", gpusPerNode="3")
    assert "Command/gpu-host" not in graph.resources
    made = stdin(graph, "cluster")
    assert made["images"] == [".tools/images/workload.tar", ".tools/images/dra-driver.tar"]
    workers = [[gpu["uuid"] for gpu in worker["mocked"]] for worker in made["workers"]]
    names = [f"dra-workshop-module5-worker{number}" for number in ("", "2")]
    assert workers == [[gpu_uuid(name, index) for index in range(3)] for name in names]
    for claim in claims(graph):
        assert claim["deviceClassName"] == "gpu.nvidia.com"
        assert workers[0][0] in json.dumps(claim)
    values = graph.resources["Release/driver"].inputs["values"]
    assert values["nvidiaDriverRoot"] == kind_places.MOCKED_DRIVER
    assert stdin(graph, "devices-published")["gpusPerNode"] == 3
    told = stdin(graph, "check-driver")["parameters"]["mocked"]
    uuids = [gpu["attributes"]["uuid"]["string"] for gpu in told]
    assert uuids == [*workers[0], *workers[1]]


def test_the_chart_runs_the_webhook_with_a_certificate_of_the_lab(nvidia: Graph) -> None:
    made = stdin(nvidia, "webhook-certificate")
    webhook = nvidia.resources["Release/driver"].inputs["values"]["webhook"]
    secret = {"name": made["secret"], "caBundle": "Y2E="}
    assert webhook == {"enabled": True, "tls": {"mode": "secret", "secret": secret}}
    assert stdin(nvidia, "devices-published")["webhook"]
    assert "ValidatingWebhookConfiguration/webhook" not in nvidia.resources


def test_without_the_webhook_nothing_of_it_is_made(example: Graph) -> None:
    off = build("module5", cluster="kind", webhook="false")
    for graph in (example, off):
        assert "Command/webhook-certificate" not in graph.resources
        assert "webhook" not in graph.resources["Release/driver"].inputs["values"]
        assert "webhook" not in stdin(graph, "devices-published")


def test_gpus_are_claimed_by_the_uuid_that_this_machine_tells(nvidia: Graph) -> None:
    for claim in claims(nvidia):
        assert claim["deviceClassName"] == "gpu.nvidia.com"
        assert GPU in json.dumps(claim)
    told = stdin(nvidia, "check-driver")["parameters"]
    assert (told["devices"], told["uuids"], told["gpusPerNode"]) == ("gpu", [GPU], 1)


def test_workers_get_what_this_machine_says_that_they_need(nvidia: Graph) -> None:
    """Asked where they are made: all of it would be too much for the output of a Command."""
    given = stdin(nvidia, "cluster")
    assert given["workers"] == [{"gpus": [GPU]}]
    asked = stdin(nvidia, "gpu-host")
    assert asked.pop("tells") == ["needs"]
    assert given["host"] == asked | {"needs": "digest"}
    values = nvidia.resources["Release/driver"].inputs["values"]
    assert "nvidiaDriverRoot" not in values, "it lies in the usual places of a node"


def test_each_worker_is_asked_which_gpus_it_sees(nvidia: Graph) -> None:
    assert nvidia.reaches("Command/check-kind-nodes", "Command/cluster-running")
    told = stdin(nvidia, "check-kind-nodes")
    assert told["parameters"]["nodes"] == {"dra-workshop-module5-worker": [GPU]}
    assert set(told["subjects"]) == {"i1"}, "again when the cluster is another"


def test_strategy_and_subsets_reach_those_who_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_host, "kernel_driver", lambda: "NVRM version: 580.1")
    graph = build(
        "module3", cluster="kind", nodes="2", gpuMounts="cdi", gpuSubsets='["0+3", "1+2"]',
        nodeImage="localhost/node:1",
    )  # fmt: skip
    assert stdin(graph, "gpu-host") == {
        "mounts": "cdi",
        "subsets": [[0, 3], [1, 2]],
        "driver": "NVRM version: 580.1",
        "tells": ["needs"],
    }
    seen = stdin(graph, "check-kind-nodes")["parameters"]["nodes"]
    assert {node: len(gpus) for node, gpus in seen.items()} == {
        "dra-workshop-module3-worker": 2, "dra-workshop-module3-worker2": 2,
    }  # fmt: skip
    looked = stdin(graph, "check-workstation")["parameters"]
    assert looked["strategy"] == "cdi"
    assert looked["gpus"] == ["0", "3", "1", "2"]
    assert looked["nodeImage"] == stdin(graph, "cluster")["image"] == "localhost/node:1"


def test_where_no_driver_is_loaded_there_is_none_to_watch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu_host, "KERNEL_DRIVER", tmp_path / "version")
    assert gpu_host.kernel_driver() == ""
    (tmp_path / "version").write_text("NVRM version: 580.1\nGCC version: 12\n")
    assert gpu_host.kernel_driver() == "NVRM version: 580.1"


@pytest.mark.parametrize(
    ("stack", "changes"),
    [("module3", {"driver": "example"}), ("module1", {}), ("module1", {"nodes": "3"})],
)
def test_this_machines_gpus_are_asked_for_only_where_they_are_used(
    stack: str, changes: dict[str, str]
) -> None:
    graph = build(stack, cluster="kind", **changes)
    assert "Command/gpu-host" not in graph.resources
    assert "Command/check-kind-nodes" not in graph.resources
    assert not any(stdin(graph, "cluster")["workers"])


def test_how_much_of_it_is_simulated(example: Graph, nvidia: Graph) -> None:
    assert example.outputs["simulated"] == "partly"
    assert nvidia.outputs["simulated"] == "none"
    bare = build("module1", cluster="kind").outputs
    assert bare["simulated"] == "none", "real nodes, and no devices at all"
