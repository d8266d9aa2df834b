"""What depends on what: the order of an update, and in reverse of a removal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components import manifests
from components.modules import module0
from components.modules.registry import modules
from components.simulated_gpus import node_names
from components.workload import set_image
from tests.unit.graph import Graph, build
from toolchain.layout import ROOT


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build("module3")


def stdin(graph: Graph, command: str) -> dict[str, Any]:
    given: dict[str, Any] = json.loads(graph.resources[f"Command/{command}"].inputs["stdin"])
    return given


@pytest.mark.parametrize(
    ("later", "earlier"),
    [
        ("Command/prerequisites-met", "Command/check-prerequisites"),
        ("Command/cluster", "Command/prerequisites-met"),
        ("kubernetes/cluster", "Command/cluster"),
        ("kubernetes/cluster", "Command/cluster-running"),
        ("ResourceSlice/slice-gpu-node-0", "Node/gpu-node-0"),
        ("Release/driver", "Node/gpu-node-0"),
        ("Release/driver", "Command/leftovers-removed"),
        ("Command/leftovers-removed", "Command/cluster-running"),
        ("Command/check-cluster", "Command/leftovers-removed"),
        ("Release/driver", "Namespace/driver"),
        ("Command/devices-published", "Release/driver"),
        ("Command/devices-published", "ResourceSlice/slice-gpu-node-0"),
        ("Pod/module3-pod-1", "Command/devices-published"),
        ("Pod/module3-pod-1", "ResourceClaim/module3-claim-1"),
        ("Pod/module3-pod-2", "Pod/module3-pod-1"),
        ("Command/check-exclusive", "Pod/module3-pod-2"),
        ("Command/check-exclusive", "Command/check-driver"),
        ("Command/check-driver", "Command/check-cluster"),
        ("Command/check-cluster", "Command/check-prerequisites"),
        ("Command/verdict", "Command/check-exclusive"),
        ("Command/verdict", "Command/check-cluster"),
    ],
)
def test_the_later_waits_for_the_earlier(graph: Graph, later: str, earlier: str) -> None:
    assert graph.reaches(later, earlier)


def test_nothing_on_the_cluster_is_waited_for_without_limit() -> None:
    everything = build("module5").resources
    waits = {name: r.longest for name, r in everything.items() if r.type.startswith("kubernetes:")}
    assert len(waits) > 20
    jobs = {name for name in waits if name.startswith("Job/")}
    assert {waits[name] for name in jobs} == {"6m"}, "longer than Kubernetes lets them run"
    assert {waits[name] for name in waits.keys() - jobs} == {"90s"}


@pytest.mark.parametrize("stack", ["module3", "module4", "module5"])
def test_pods_wait_until_nobody_else_holds_the_gpu(stack: str) -> None:
    made = build(stack)
    pods = [n for n in made.resources if n.startswith((f"Pod/{stack}", f"Job/{stack}"))]
    assert pods
    assert all(made.reaches(name, f"Command/{stack}-gpu-free") for name in pods)
    assert stdin(made, f"{stack}-gpu-free")["runs"]


def test_claims_and_pods_are_gone_before_the_driver_goes(graph: Graph) -> None:
    for name in ("ResourceClaim/module3-claim-1", "ResourceClaim/module3-claim-2"):
        assert graph.reaches(name, "Release/driver")


def test_the_run_reaches_pods_by_a_property_so_that_a_new_run_replaces_them(graph: Graph) -> None:
    for pod in ("Pod/module3-pod-1", "Pod/module3-pod-2"):
        assert "ConfigMap/module3-workshop" in graph.resources[pod].depends_on


def test_objects_go_with_their_cluster(graph: Graph) -> None:
    kinds = ("kubernetes:core", "kubernetes:resource", "kubernetes:helm")
    objects = [r for r in graph.resources.values() if r.type.startswith(kinds)]
    assert len(objects) == 11
    assert {r.deleted_with for r in objects} == {"Command/cluster"}


@pytest.mark.parametrize(
    ("changes", "nodes", "own"),
    [
        ({"nodes": "15"}, ["gpu-node-15"], {"3"}),
        ({"nodes": "16", "modules": '["5"]'}, [], {"4", "5"}),
        ({"nodes": "16", "modules": '["3", "5"]'}, [], {"3", "4", "5"}),
        ({"node": "host"}, node_names(16), {"3"}),
        ({"cluster": "kind"}, [], {"3"}),
        ({"cluster": "kind", "modules": '["1"]'}, [], set()),
    ],
)
def test_what_is_not_configured_is_removed_before_anything_is_checked(
    changes: dict[str, str], nodes: list[str], own: set[str]
) -> None:
    told = stdin(build("module3", **changes), "leftovers-removed")
    assert told["nodes"] == nodes
    others = [module for module in modules().values() if module.id not in own]
    assert told["namespaces"] == [name for module in others for name in module.namespaces]
    assert told["labels"] == {}


def test_commands_carry_no_absolute_path(graph: Graph) -> None:
    for resource in graph.resources.values():
        if resource.type == "command:local:Command":
            assert resource.inputs["create"].startswith(".venv/bin/python -m ")
            assert '"/' not in resource.inputs["stdin"]


def test_no_output_depends_on_the_verdict(graph: Graph) -> None:
    waiting = [name for name, r in graph.resources.items() if "Command/verdict" in r.depends_on]
    assert waiting == []


def test_outputs_are_those_that_are_promised(graph: Graph) -> None:
    assert set(graph.outputs) == {
        "cluster", "node", "driver", "modules", "verification", "benchmarks", "evaluation",
        "basis", "simulated", "status", "report",
    }  # fmt: skip
    assert graph.outputs["status"] == "passed"
    assert graph.outputs["simulated"] == "all"
    assert list(graph.outputs["verification"]) == ["0", "1", "2", "3"]
    assert graph.outputs["modules"]["3"] == {
        "title": "Exclusive claims", "needs": ["2"], "status": "passed",
    }  # fmt: skip


def test_after_a_restart_module_0_looks_again_too(graph: Graph) -> None:
    lives = {
        stdin(graph, name.removeprefix("Command/"))["start_id"]
        for name in graph.resources
        if name.startswith("Command/check-")
    }
    assert len(lives) == 1
    assert lives != {""}


def test_without_a_cluster_module_0_has_no_restart_to_look_for() -> None:
    assert stdin(build("module0"), "check-prerequisites")["start_id"] == ""


def test_module_0_looks_again_when_the_tools_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "placed.json"
    monkeypatch.setattr(module0, "OBSERVED", (tools, tmp_path / "no-driver"))
    told = []
    for placed in ("{}", '{"etcd": "1"}', '{"etcd": "2"}', '{"etcd": "2"}'):
        tools.write_text(placed)
        told.append(stdin(build("module0"), "check-prerequisites")["digest"])
    assert len(set(told[:3])) == 3
    assert told[2] == told[3]


def test_a_stack_makes_only_what_its_modules_need() -> None:
    prerequisites = build("module0")
    assert not any(r.type.startswith("kubernetes") for r in prerequisites.resources.values())
    assert prerequisites.outputs["cluster"] == {}
    cluster = build("module1")
    assert "Node/gpu-node-0" in cluster.resources
    assert "Release/driver" not in cluster.resources
    assert cluster.outputs["driver"] == {}


def test_configuration_reaches_what_it_decides() -> None:
    graph = build(
        "module3", nodes="3", gpusPerNode="4", gpuProfile="a100", driverVersion="0.4.1",
        driverChart="oci://registry.test/chart", featureGates='["DRADeviceTaints=false"]',
        strict="false",
    )  # fmt: skip
    assert {"Node/gpu-node-0", "Node/gpu-node-1", "Node/gpu-node-2"} <= set(graph.resources)
    devices = graph.resources["ResourceSlice/slice-gpu-node-2"].inputs["spec"]["devices"]
    assert [device["name"] for device in devices] == ["gpu-0", "gpu-1", "gpu-2", "gpu-3"]
    assert devices[0]["attributes"]["productName"]["string"] == "NVIDIA A100-SXM4-80GB"
    release = graph.resources["Release/driver"].inputs
    assert (release["chart"], release["version"]) == ("oci://registry.test/chart", "0.4.1")
    assert release["values"]["featureGates"] == {"MPSSupport": True, "TimeSlicingSettings": True}
    assert release["skipCrds"]
    assert stdin(graph, "cluster")["feature_gates"] == ["DRADeviceTaints=false"]
    assert stdin(graph, "devices-published")["gpusPerNode"] == 4
    assert stdin(graph, "verdict")["strict"] is False


def test_shares_reach_driver_webhook_and_slices() -> None:
    graph = build("module2", consumableShares="4")
    on = {"ConsumableShares": True, "MPSSupport": True, "TimeSlicingSettings": True}
    values = graph.resources["Release/driver"].inputs["values"]
    assert (values["consumableShares"], values["featureGates"]) == ("4", on)
    (*_, slice_) = (r for name, r in graph.resources.items() if name.startswith("ResourceSlice/"))
    assert slice_.inputs["spec"]["devices"][0]["capacity"]["shares"]["value"] == "4"
    gates = stdin(graph, "cluster-running")["webhook_gates"]
    # A claim for MPS that is there from before could not even be deleted without MPSSupport.
    assert gates == "ConsumableShares=true,MPSSupport=true,TimeSlicingSettings=true"
    assert stdin(graph, "devices-published")["consumableShares"] == "4"
    assert stdin(build("module2"), "cluster-running")["webhook_gates"] == "MPSSupport=true"


@pytest.fixture(scope="module")
def limits() -> Graph:
    """Each check of MPS has two tables: one whose name they share, and one not measured."""

    def tables(program: str) -> dict[str, Any]:
        return {"pod-start": {"rows": [{"pod": program}]}, program: {"skipped": "?"}}

    programs = ("mps-sharing", "mps-percentage", "mps-memory")
    return build("module5", {each: {"benchmarks": tables(each)} for each in programs})


@pytest.mark.parametrize(
    ("later", "earlier"),
    [
        ("Pod/module4-own", "Pod/module4-shared-1"),
        ("Pod/module4-own", "Pod/module4-shared-2"),
        ("Command/check-mps-sharing", "Pod/module4-own"),
        ("Command/check-mps-sharing", "Command/check-driver"),
        ("Job/module5-percentage-100", "Command/check-mps-sharing"),
        ("Job/module5-percentage-50", "Job/module5-percentage-100"),
        ("Job/module5-percentage-1", "Job/module5-percentage-10"),
        ("Pod/module5-share-3", "Job/module5-percentage-1"),
        ("Command/check-mps-percentage", "Pod/module5-share-1"),
        ("Command/check-mps-percentage", "Job/module5-percentage-100"),
        ("Pod/module5-neighbour", "Command/check-mps-percentage"),
        ("Pod/module5-escaper", "Command/check-mps-percentage"),
        ("Command/check-mps-memory", "Pod/module5-raiser"),
        ("Command/verdict", "Command/check-mps-memory"),
    ],
)
def test_those_that_use_the_gpu_take_turns(limits: Graph, later: str, earlier: str) -> None:
    assert limits.reaches(later, earlier)


def test_modules_3_and_4_in_one_stack_take_turns_too() -> None:
    both = build("module4", modules='["3", "4"]')
    assert both.reaches("Pod/module4-shared-1", "Command/check-exclusive")


def test_a_claim_that_changes_is_another_one_with_other_pods(limits: Graph) -> None:
    claim = limits.resources["ResourceClaim/module5-memory-claim"]
    assert claim.replace_on_changes == ["spec"]
    assert "ResourceClaim/module5-memory-claim" in limits.resources["Pod/module5-raiser"].depends_on
    env = limits.resources["Pod/module5-raiser"].inputs["spec"]["containers"][0]["env"]
    assert {"name": "DRA_WORKSHOP_CLAIM", "value": "uid-module5-memory-claim"} in env


def test_limits_of_the_configuration_reach_claims_and_pods() -> None:
    graph = build(
        "module5", mpsPercentages='["100", "30"]', mpsClients="2", mpsSharePercentage="40",
        mpsMemoryLimit="2Gi",
    )  # fmt: skip

    def limits(claim: str) -> Any:
        spec = graph.resources[f"ResourceClaim/module5-{claim}-claim"].inputs["spec"]
        (config,) = spec["devices"]["config"]
        assert config["requests"] == ["gpu"]
        return config["opaque"]["parameters"]["sharing"]["mpsConfig"]

    def container(pod: str) -> Any:
        return graph.resources[f"Pod/module5-{pod}"].inputs["spec"]["containers"][0]

    assert limits("percentage-30") == {"defaultActiveThreadPercentage": 30}
    assert limits("share") == {"defaultActiveThreadPercentage": 40}
    assert limits("memory") == {
        "defaultActiveThreadPercentage": 40, "defaultPinnedDeviceMemoryLimit": "2Gi",
    }  # fmt: skip
    assert "Job/module5-percentage-50" not in graph.resources
    assert "Pod/module5-share-3" not in graph.resources
    command = container("allocator")["command"]
    start = command.index("--allocate")
    assert command[start + 1 : start + 6] == ["512", "1024", "2200", "4096", "--start-file"]
    variables = {each["name"]: each["value"] for each in container("escaper")["env"]}
    assert variables["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=4096M,1=8192M"
    told = stdin(graph, "check-mps-memory")["parameters"]
    assert (told["limitMib"], told["under"], told["over"]) == (2048, [512, 1024], [2200, 4096])
    assert stdin(graph, "devices-published")["memoryLimit"] == {"mib": 2048, "clients": 2}
    assert stdin(graph, "check-driver")["parameters"]["memoryLimit"] == {"mib": 2048, "clients": 2}


def test_without_a_memory_limit_module_5_shows_percentages_only() -> None:
    """As on GPUs that use the machine's memory."""
    graph = build("module5", mpsMemoryLimit="none")
    # A run of what is not verified would be another one after every `make verify`.
    assert len(stdin(graph, "module5-gpu-free")["runs"]) == 1
    assert "Command/check-mps-percentage" in graph.resources
    assert "Command/check-mps-memory" not in graph.resources
    assert "ResourceClaim/module5-memory-claim" not in graph.resources
    assert stdin(graph, "devices-published")["memoryLimit"] is None


IMAGE = "registry.test/python@sha256:" + "1" * 64


def images(graph: Graph) -> dict[str, set[str]]:
    """Pod or Job → the images of its containers."""
    found = {}
    for name, resource in graph.resources.items():
        if name.startswith(("Pod/", "Job/")):
            spec = resource.inputs["spec"]
            pod = spec["template"]["spec"] if name.startswith("Job/") else spec
            found[name] = {container["image"] for container in pod["containers"]}
    return found


def test_every_pod_has_the_image_that_is_configured() -> None:
    """Also those on simulated nodes, where nobody pulls it."""
    found = images(build("module5", modules='["3", "5"]', workloadImage=IMAGE))
    assert {name.partition("-")[0] for name in found} == {
        "Pod/module3", "Pod/module4", "Pod/module5", "Job/module5",
    }  # fmt: skip
    assert set.union(*found.values()) == {IMAGE}


def test_without_one_pods_have_set_ups(limits: Graph) -> None:
    assert set.union(*images(limits).values()) == {"localhost/dra-workshop/workload:1"}


def test_an_image_that_somebody_wrote_into_a_manifest_stays() -> None:
    objects = manifests.load("module3")
    objects["Pod/pod-1"]["spec"]["containers"][0]["image"] = "mine:2"
    changed = set_image(objects, IMAGE)
    (mine, other) = (changed[f"Pod/{name}"]["spec"]["containers"] for name in ("pod-1", "pod-2"))
    assert (mine[0]["image"], other[0]["image"]) == ("mine:2", IMAGE)


def test_a_stack_without_limits_asks_nothing_of_the_gpus_memory(graph: Graph) -> None:
    assert stdin(graph, "devices-published")["memoryLimit"] is None


def test_tables_are_exported_by_module_and_verification_is_free_of_them(limits: Graph) -> None:
    found = limits.outputs["benchmarks"]
    assert set(found) == {"4", "5"}
    assert set(found["5"]) == {"pod-start", "mps-percentage", "mps-memory"}
    rows = [row["pod"] for row in found["5"]["pod-start"]["rows"]]
    assert rows == ["mps-percentage", "mps-memory"]
    assert all("benchmarks" not in result for result in limits.outputs["verification"].values())
    assert stdin(limits, "verdict")["benchmarks"] == found


def test_a_module_without_tables_exports_none(graph: Graph) -> None:
    assert graph.outputs["benchmarks"] == {}


@pytest.mark.parametrize("node", ["simulated", "host"])
def test_without_a_cluster_nothing_is_simulated(node: str) -> None:
    assert build("module0", node=node).outputs["simulated"] == "none"


def test_the_graph_loads_no_kubernetes_client() -> None:
    """A preview would wait half a second for what only checks and operations need."""
    program = "import sys, components.lab; print('kubernetes' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
