"""Every configuration that we write, given to the real kind: it is accepted, and all of it comes
to take effect in what kind tells Docker and kubeadm."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from machine import kind_images, kind_node_needs, kind_places
from machine.kind_node_parts import Mount
from operations.kind import kind_config
from operations.kind.kind_config import Wanted
from tests.plan.played_docker import ENDS_AT, KIND, PlayedDocker

SPEC = json.loads(Path("tests/data/cdi-h200.json").read_text())
IMAGE = "localhost/node:1"
MARK = Mount("/dev/null", "/etc/dra-workshop/lab/0123456789ab")
GATES = ("DRAConsumableCapacity=true", "DRAAdminAccess=false")
APIS = ("resource.k8s.io/v1beta1=true",)
STRATEGIES = ("none", *kind_node_needs.STRATEGIES)

pytestmark = pytest.mark.skipif(not KIND.exists(), reason="there is no kind: make setup-kind")


def mounts(strategy: str) -> list[Mount]:
    """Those of a worker with all GPUs of the machine that the spec is of."""
    if strategy == "none":
        return []
    needs = kind_node_needs.for_node(SPEC, (), strategy)
    return [Mount(mount.host, mount.container, mount.read_only) for mount in needs.mounts]


def wanted(version: str = "1.36.4", workers: int = 1, strategy: str = "none") -> Wanted:
    name = kind_places.cluster("lab")
    return Wanted(name, version, IMAGE, [mounts(strategy)] * workers, mark=MARK.container)


@pytest.mark.parametrize(
    ("version", "workers", "strategy", "switches", "cgroups"),
    list(itertools.product(kind_images.DIGESTS, (1, 3), STRATEGIES, (False, True), (1, 2))),
)
def test_the_real_kind_takes_it_and_all_of_it_takes_effect(
    tmp_path: Path, version: str, workers: int, strategy: str, switches: bool, cgroups: int
) -> None:
    given = replace(
        wanted(version, workers, strategy),
        gates=GATES if switches else (),
        runtime_config=APIS if switches else (),
        cgroups=cgroups,
    )
    docker = PlayedDocker(tmp_path, version, cgroups)
    said = docker.create(kind_config.text(given))
    assert ENDS_AT in said.text, said.text
    assert docker.unexpected() == ""
    names = kind_places.workers("lab", workers)
    control_plane = kind_places.control_plane("lab")
    assert docker.names() == sorted([control_plane, *names])
    require_container(docker.run_with(control_plane), [])
    for name in names:
        require_container(docker.run_with(name), given.workers[0])
        require_worker(docker.told(name))
    require_control_plane(docker.told(control_plane), given)
    for name in docker.names():
        kubelet = docker.told(name)["KubeletConfiguration"]
        assert kubelet.get("failCgroupV1") == (False if cgroups == 1 else None)
        assert kubelet.get("featureGates", {}) == gates(given)


def require_container(arguments: list[str], mounted: Sequence[Mount]) -> None:
    volumes = {each for each in arguments if each.startswith("--volume=")}
    assert volumes == {
        f"--volume={mount.host}:{mount.container}{':ro' if mount.read_only else ''}"
        for mount in [MARK, *mounted]
    }
    assert arguments[-1] == IMAGE


def require_worker(told: dict[str, dict[str, Any]]) -> None:
    """A worker joins with the label that NVIDIA's chart looks for."""
    arguments = arguments_of(told["JoinConfiguration"]["nodeRegistration"]["kubeletExtraArgs"])
    assert arguments["node-labels"] == "nvidia.com/gpu.present=true"


def require_control_plane(told: dict[str, dict[str, Any]], given: Wanted) -> None:
    cluster = told["ClusterConfiguration"]
    controllers = arguments_of(cluster["controllerManager"]["extraArgs"])
    scheduler = arguments_of(cluster["scheduler"]["extraArgs"])
    server = arguments_of(cluster["apiServer"]["extraArgs"])
    assert kind_config.RATES.items() <= controllers.items()
    assert kind_config.RATES.items() <= scheduler.items()
    assert controllers["enable-hostpath-provisioner"] == "true", "kind's own are kept"
    for component in (controllers, scheduler, server):
        assert read_gates(component.get("feature-gates", "")) == gates(given)
    assert server["runtime-config"] == ",".join(given.runtime_config)


def arguments_of(given: Any) -> dict[str, str]:
    """extraArgs of kubeadm's v1beta3, a map, or v1beta4, a list."""
    if isinstance(given, dict):
        return given
    assert len({each["name"] for each in given}) == len(given), "none is given twice"
    return {each["name"]: each["value"] for each in given}


def gates(given: Wanted) -> dict[str, bool]:
    return read_gates(",".join(given.gates))


def read_gates(text: str) -> dict[str, bool]:
    pairs = [each.split("=") for each in text.split(",") if each]
    return {name: value == "true" for name, value in pairs}


# --- kind's refusals ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nodez": []}, "field nodez not found in type v1alpha4.Cluster"),
        ({"apiVersion": "kind.x-k8s.io/v1alpha5"}, "unknown apiVersion"),
        ({"name": "Lab"}, "is not a valid cluster name"),
        ({"nodes": [{"role": "gpu"}]}, "is not a valid node role"),
        ({"nodes": [{"role": "worker"}]}, "must have at least one control-plane node"),
        ({"nodes": [{"role": "control-plane", "mounts": []}]}, "field mounts not found"),
        ({"featureGates": ["DRAAdminAccess=true"]}, "unable to decode config"),
    ],
)
def test_a_broken_configuration_is_refused_before_anything_is_made(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    """So the test above can fail."""
    docker = PlayedDocker(tmp_path, "1.36.4")
    found = docker.create(yaml.safe_dump(kind_config.config(wanted()) | changes))
    assert said in found.text
    assert found.code != 0
    assert docker.names() == []


@pytest.mark.parametrize("patch", ["kind: [", "just words"])
def test_a_broken_patch_is_refused_before_kubeadm_runs(tmp_path: Path, patch: str) -> None:
    docker = PlayedDocker(tmp_path, "1.36.4")
    broken = kind_config.config(wanted()) | {"kubeadmConfigPatches": [patch]}
    found = docker.create(yaml.safe_dump(broken))
    assert "failed to parse patches" in found.text
    assert ENDS_AT not in found.text


@pytest.mark.parametrize(("of", "given_to"), [("1.35.8", "1.36.4"), ("1.36.4", "1.35.8")])
def test_patches_of_another_version_are_silently_left_out(
    tmp_path: Path, of: str, given_to: str
) -> None:
    """Which is why the version of Kubernetes decides their shape."""
    docker = PlayedDocker(tmp_path, given_to)
    found = docker.create(kind_config.text(wanted(of)))
    assert ENDS_AT in found.text
    cluster = docker.told(kind_places.control_plane("lab"))["ClusterConfiguration"]
    scheduler = arguments_of(cluster["scheduler"]["extraArgs"] or {})
    assert not kind_config.RATES.keys() & scheduler.keys()


@pytest.mark.parametrize("version", ["1.36.0-rc.1", "1.37.0-alpha.2", "1.35.0-rc.1"])
def test_a_candidate_is_patched_as_its_release(tmp_path: Path, version: str) -> None:
    docker = PlayedDocker(tmp_path, version)
    docker.create(kind_config.text(wanted(version)))
    require_control_plane(docker.told(kind_places.control_plane("lab")), wanted(version))
