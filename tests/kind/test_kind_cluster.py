"""Real kind, real kubelets, and a real DRA driver: NVIDIA's over mocked GPUs, or the example driver
with its mock devices. What a workstation's user gets, but for the silicon."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import psutil
import pytest
import yaml

from machine import kind_node_needs, kind_places
from tests.faults import lab
from tests.kind.conftest import NOTHING, Inside, statuses, unable_to_mock
from toolchain.tools import KUBERNETES_VERSION

STACK, OTHER, TAKEN = "module4", "module3", "module2"
CONTROL_PLANE = kind_places.control_plane(STACK)
(WORKER,) = kind_places.workers(STACK, 1)
(EXAMPLE_WORKER,) = kind_places.workers(OTHER, 1)
UUID = "GPU-b83343f0-ddfa-f18f-c57a-6148685663c8"
SIMULATED = """
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: gpu.nvidia.com}
spec: {selectors: [{cel: {expression: device.driver == 'gpu.nvidia.com'}}]}
---
apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {name: simulated}
spec:
  driver: gpu.nvidia.com
  nodeName: WORKER
  pool: {name: WORKER, generation: 1, resourceSliceCount: 1}
  devices: [{name: gpu-0}]
"""
CLAIM = """
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: NAME}
spec: {devices: {requests: [{name: gpu, exactly: {deviceClassName: gpu.nvidia.com}}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  terminationGracePeriodSeconds: 0
  resourceClaims: [{name: gpu, resourceClaimName: NAME}]
  containers:
    - name: python
      image: localhost/dra-workshop/workload:1
      command: [python3, -c, "import time; time.sleep(600)"]
      resources: {claims: [{name: gpu}]}
"""


@pytest.fixture(scope="module")
def cluster(workstation: Inside) -> Iterator[Inside]:
    """NVIDIA's driver and webhook over mocked GPUs, up and passed."""
    if why := unable_to_mock():
        pytest.skip(why)
    workstation.stack(STACK)
    configuration = (
        "cluster=kind gpus=mocked mps=both modules=3,4 featureGates=DRAResourcePoolStatus=true "
        "runtimeConfig=resource.k8s.io/v1beta2=true"
    )
    made = workstation.operate("up", "--stack", STACK, "--set", configuration)
    assert made.code == 0, made.text
    yield workstation
    lab.destroy(workstation, STACK)


def of(cluster: Inside, *arguments: str, stack: str = STACK) -> Any:
    done = cluster.kubectl(stack, "get", *arguments, "--output=json")
    assert done.code == 0, done.text
    return json.loads(done.text)


def test_nvidias_driver_passes_over_mocked_gpus(cluster: Inside) -> None:
    found = statuses(cluster, STACK)
    of_driver = {"devices-as-mocked", "device-in-pod", "device-files", "nothing-without-claim"}
    of_mps = {"mps-daemon", "gpu-reserved", "pipe-directory", "shared-memory", "own-claim-runs"}
    assert {name for name in of_driver | of_mps if found[name] != "passed"} == set()
    assert found["work-done"] == "skipped", "nothing computes"
    outputs = cluster.outputs(STACK)
    assert (outputs["simulated"], outputs["status"]) == ("partly", "passed")
    unchanged = cluster.preview(STACK, "--expect-no-changes")
    assert unchanged.code == 0, unchanged.text


def test_nvidias_webhook_refuses_what_its_driver_could_not_read(cluster: Inside) -> None:
    """It is a pod of the driver's chart, with a certificate of the lab's own."""
    claims = (cluster.folder / "manifests" / STACK / "10-claims.yaml").read_text()
    manifest = cluster.folder / "wrong.yaml"
    for text, code in ((claims, 0), (claims.replace("strategy: MPS", "strategy: mps"), 1)):
        manifest.write_text(re.sub(r"name: (shared|own)$", r"name: \1-again", text, flags=re.M))
        asked = ("create", "--dry-run=server", "--filename", str(manifest))
        done = cluster.kubectl(STACK, *asked)
        assert done.code == code, done.text
    assert 'admission webhook "gpu.nvidia.com" denied the request' in done.text
    assert "unknown GPU sharing strategy: mps" in done.text


def test_nodes_are_as_the_configuration_has_them(cluster: Inside) -> None:
    labels = of(cluster, "node", WORKER)["metadata"]["labels"]
    assert labels["nvidia.com/gpu.present"] == "true"
    for component in ("kube-controller-manager", "kube-scheduler"):
        pod = of(cluster, "pod", "--namespace=kube-system", f"{component}-{CONTROL_PLANE}")
        command = pod["spec"]["containers"][0]["command"]
        assert "--kube-api-qps=200" in command
        assert "--feature-gates=DRAResourcePoolStatus=true" in command
    assert "--enable-hostpath-provisioner=true" in " ".join(
        of(cluster, "pod", "--namespace=kube-system", f"kube-controller-manager-{CONTROL_PLANE}")[
            "spec"
        ]["containers"][0]["command"]
    )


def test_a_node_that_was_restarted_is_found_and_verified_again(cluster: Inside) -> None:
    """A restart takes the CDI specs away: pods of before could not be started again."""
    before = cluster.outputs(STACK)["cluster"]["cluster_id"]
    cluster.docker("restart", WORKER)
    again = lab.up(cluster, STACK)
    assert again.code == 0, again.text
    assert cluster.outputs(STACK)["cluster"]["cluster_id"] == before
    assert statuses(cluster, STACK)["device-in-pod"] == "passed"
    assert cluster.preview(STACK, "--expect-no-changes").code == 0


def test_a_cluster_with_a_node_that_ended_is_removed_as_a_whole(cluster: Inside) -> None:
    cluster.docker("kill", WORKER)
    gone = lab.destroy(cluster, STACK)
    assert gone.code == 0, gone.text
    assert "nothing of it is left" in gone.text
    lab.require_nothing_left(cluster, STACK)
    assert cluster.left() == NOTHING
    again = lab.destroy(cluster, STACK)
    assert again.code == 0, again.text


@pytest.fixture(scope="module")
def bare(workstation: Inside) -> Inside:
    """With a stack OTHER of the example driver, which the first of its tests brings up."""
    workstation.stack(OTHER)
    workstation.configure(OTHER, "cluster", "kind")
    workstation.configure(OTHER, "driver", "example")
    return workstation


def test_a_creation_that_was_killed_is_begun_anew(bare: Inside) -> None:
    """A half-made cluster may look ready: kind's last steps were never done."""
    with lab.running(bare, "up", "--stack", OTHER) as process:
        until_there(bare, kind_places.control_plane(OTHER))
        time.sleep(5)
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
    assert bare.left()["containers"]
    config = yaml.safe_load((bare.folder / ".run" / OTHER / "kind.yaml").read_text())
    assert config["name"] == kind_places.cluster(OTHER)

    lab.require_passed(bare, OTHER)

    nodes = [kind_places.control_plane(OTHER), *kind_places.workers(OTHER, 1)]
    assert sorted(bare.left()["containers"]) == sorted(nodes)


def test_module_3_passes_with_the_example_driver(bare: Inside) -> None:
    found = statuses(bare, OTHER)
    assert found["device-through-cdi"] == "passed"
    assert found["hand-over"] == "passed"
    skipped = {"device-in-pod", "device-files", "nothing-without-claim"}
    assert {name for name in skipped if found[name] == "skipped"} == skipped
    outputs = bare.outputs(OTHER)
    assert (outputs["simulated"], outputs["status"]) == ("partly", "passed")
    assert outputs["benchmarks"]["3"]["pod-start"]["skipped"].startswith("needs a GPU")


def test_simulated_slices_are_allocated_and_go_no_further(bare: Inside) -> None:
    """The scheduler takes a slice for what it says; the kubelet has no driver to ask."""
    manifest = bare.folder / "simulated.yaml"
    claims = [CLAIM.replace("NAME", name) for name in ("first", "second")]
    manifest.write_text(SIMULATED.replace("WORKER", EXAMPLE_WORKER) + claims[0])
    made = bare.kubectl(OTHER, "apply", "--filename", str(manifest))
    assert made.code == 0, made.text
    reached = bare.kubectl(
        OTHER, "wait", "pod/first", "--for=condition=PodScheduled", "--timeout=30s"
    )
    assert reached.code == 0, reached.text
    more = bare.folder / "second.yaml"
    more.write_text(claims[1])
    assert bare.kubectl(OTHER, "apply", "--filename", str(more)).code == 0
    told = waited(bare, "first", "not registered")
    assert "gpu.nvidia.com" in told
    waited(bare, "second", "cannot allocate all claims")
    assert (
        of(bare, "resourceclaim", "second", stack=OTHER).get("status", {}).get("allocation") is None
    )
    for path in (more, manifest):
        gone = bare.kubectl(OTHER, "delete", "--filename", str(path), "--timeout=60s")
        assert gone.code == 0, gone.text


def waited(bare: Inside, pod: str, words: str) -> str:
    """The pod's event with these words, as soon as there is one."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        chosen = f"--field-selector=involvedObject.name={pod}"
        events = of(bare, "events", chosen, stack=OTHER)["items"]
        for event in events:
            if words in event["message"]:
                return str(event["message"])
        time.sleep(0.5)
    raise AssertionError(f"{pod}: {[event['message'] for event in events]}")


def test_a_cluster_whose_files_are_lost_is_found_in_docker(bare: Inside) -> None:
    """And only that: a container that somebody gave the cluster's name stays."""
    lab.require_passed(bare, OTHER)
    lab.remove(bare.folder / ".run")
    lost = lab.up(bare, OTHER)
    assert lost.code != 0
    assert f"run: make destroy STACK={OTHER}, then: make up STACK={OTHER}" in lost.text

    put_somebodys(bare, OTHER)
    nowhere = bare.operate("destroy", "--stack", OTHER, DOCKER_HOST="unix:///nowhere")
    assert nowhere.code != 0
    assert "the Docker daemon does not run or cannot be reached" in nowhere.text
    assert "nothing of it is left" not in nowhere.text
    assert len(bare.left()["containers"]) == 3

    gone = lab.destroy(bare, OTHER)
    assert gone.code == 0, gone.text
    assert "nothing of it is left" in gone.text
    lab.require_nothing_left(bare, OTHER)
    assert bare.left()["containers"] == ["somebodys"]
    bare.docker("rm", "--volumes", "somebodys")
    assert bare.left() == NOTHING


def until_there(workstation: Inside, container: str) -> None:
    deadline = time.monotonic() + 90
    while container not in workstation.left()["containers"]:
        assert time.monotonic() < deadline, "the creation did not begin"
        time.sleep(0.3)


def test_a_node_has_the_gpu_driver_where_nvidias_plugin_looks(workstation: Inside) -> None:
    """With a driver that is no more than its files, in a place of its own, as a CDI spec tells."""
    driver = workstation.folder / "driver"
    for name in ("lib/libcuda.so.580.1", "lib/libnvidia-ml.so.580.1", "bin/nvidia-smi"):
        (driver / name).parent.mkdir(parents=True, exist_ok=True)
        (driver / name).write_text(f"#!/bin/sh\necho {UUID}\n")
    (driver / "bin/nvidia-smi").chmod(0o755)
    mounts = [driver / "lib/libcuda.so.580.1", driver / "lib/libnvidia-ml.so.580.1"]
    spec = {
        "cdiVersion": "0.5.0",
        "kind": "nvidia.com/gpu",
        "devices": [{"name": "all", "containerEdits": {}}],
        "containerEdits": {
            "mounts": [
                {"hostPath": str(path), "containerPath": str(path)}
                for path in [*mounts, driver / "bin/nvidia-smi"]
            ]
        },
    }
    needs = kind_node_needs.settled(kind_node_needs.for_node(spec))
    wanted = {
        "stack": TAKEN,
        "kubernetes_version": KUBERNETES_VERSION,
        "feature_gates": [],
        "runtime_config": [],
        "image": "",
        "images": [],
        "workers": [{"gpus": [UUID]} | asdict(needs)],
    }
    made = subprocess.run(
        workstation.command(".venv/bin/python", "-m", "operations", "kind", "create"),
        cwd=workstation.folder,
        env=workstation.environment(),
        input=json.dumps(wanted),
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    (worker,) = kind_places.workers(TAKEN, 1)
    there = workstation.docker("exec", worker, "sh", "-c", "cd /usr/lib/x86_64-linux-gnu && ls -l")
    assert "libcuda.so.1 -> libcuda.so.580.1" in there
    assert "libnvidia-ml.so.1 -> libnvidia-ml.so.580.1" in there
    assert workstation.docker("exec", worker, "nvidia-smi").strip() == UUID
    assert workstation.operate("kind", "down", "--stack", TAKEN).code == 0
    assert workstation.left() == NOTHING


def test_a_name_that_is_taken_is_refused_before_anything_is_changed(workstation: Inside) -> None:
    name = put_somebodys(workstation, TAKEN)
    workstation.stack(TAKEN)
    workstation.configure(TAKEN, "cluster", "kind")
    workstation.configure(TAKEN, "driver", "example")
    refused = lab.up(workstation, TAKEN)
    assert refused.code != 0
    assert f"kind cluster {name} that is not known here: somebodys" in refused.text
    assert f"kind delete cluster --name {name}" in refused.text
    assert workstation.left()["containers"] == ["somebodys"]
    gone = lab.destroy(workstation, TAKEN)
    assert gone.code == 0, gone.text
    assert workstation.left()["containers"] == ["somebodys"]
    workstation.docker("rm", "--volumes", "somebodys")


def put_somebodys(workstation: Inside, stack: str) -> str:
    """Have a container "somebodys" that says it is of a cluster with the name of the stack's, which
    is returned."""
    name = kind_places.cluster(stack)
    (image,) = {
        line
        for line in workstation.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
        if "kind-node" in line
    }
    label = f"io.x-k8s.kind.cluster={name}"
    workstation.docker("create", "--name", "somebodys", "--label", label, image)
    return name
