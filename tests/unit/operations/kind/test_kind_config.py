"""What kind is told, in every combination. That the real kind takes it: tests/plan."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import yaml

from machine import kind_images
from machine.kind_node_parts import Mount
from operations.kind.kind_config import Wanted, config, text

VERSIONS = tuple(kind_images.DIGESTS)
LISTS = ("1.36.4", "1.37.0")
"""Versions whose extraArgs are lists."""
MOUNTS = {
    "none": [],
    "toolkit": [Mount("/dev/null", "/var/run/nvidia-container-devices/all")],
    "cdi": [
        Mount("/opt/driver/libcuda.so.580.1", "/usr/lib/x86_64-linux-gnu/libcuda.so.580.1"),
        Mount("/dev/odd/nvidia0", "/dev/nvidia0", read_only=False),
    ],
}


def wanted(**changed: Any) -> Wanted:
    given: dict[str, Any] = {"name": "lab", "version": "1.36.4", "image": "node:1", "workers": [[]]}
    return Wanted(**(given | changed))


def patches(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Kind of object → the patch for it."""
    found = [yaml.safe_load(patch) for patch in given["kubeadmConfigPatches"]]
    assert len({patch["kind"] for patch in found}) == len(found)
    return {patch["kind"]: patch for patch in found}


def test_every_node_has_the_mark_by_which_docker_tells_whose_it_is() -> None:
    made = config(wanted(workers=[[], MOUNTS["toolkit"]], mark="/etc/dra-workshop/lab/1"))
    mark = {"hostPath": "/dev/null", "containerPath": "/etc/dra-workshop/lab/1", "readOnly": True}
    assert [node["extraMounts"][0] for node in made["nodes"]] == [mark] * 3
    assert [len(node["extraMounts"]) for node in made["nodes"]] == [1, 1, 2]


@pytest.mark.parametrize(
    ("version", "workers", "mounts", "cgroups"),
    list(itertools.product(VERSIONS, (1, 3), MOUNTS, (1, 2))),
)
def test_every_combination(version: str, workers: int, mounts: str, cgroups: int) -> None:
    made = config(
        wanted(version=version, workers=[MOUNTS[mounts]] * workers, cgroups=cgroups),
    )
    assert made["apiVersion"] == "kind.x-k8s.io/v1alpha4"
    assert made["name"] == "lab"
    first, *others = made["nodes"]
    assert first == {"role": "control-plane", "image": "node:1"}
    assert len(others) == workers
    for worker in others:
        assert worker["role"] == "worker"
        assert worker["labels"] == {"nvidia.com/gpu.present": "true"}
        found = [
            Mount(each["hostPath"], each["containerPath"], each.get("readOnly", False))
            for each in worker.get("extraMounts", [])
        ]
        assert found == MOUNTS[mounts]
    found_patches = patches(made)
    cluster = found_patches.pop("ClusterConfiguration")
    rates: Any = {"kube-api-qps": "200", "kube-api-burst": "400"}
    if version in LISTS:
        rates = [{"name": name, "value": value} for name, value in rates.items()]
    assert cluster == {
        "apiVersion": f"kubeadm.k8s.io/{'v1beta4' if version in LISTS else 'v1beta3'}",
        "kind": "ClusterConfiguration",
        "controllerManager": {"extraArgs": rates},
        "scheduler": {"extraArgs": rates},
    }
    kubelets = [patch["failCgroupV1"] for patch in found_patches.values()]
    assert kubelets == ([False] if cgroups == 1 else [])
    assert "featureGates" not in made
    assert "runtimeConfig" not in made


def test_each_worker_has_its_own_mounts() -> None:
    one, two = ([Mount("/dev/null", f"/ask/{name}")] for name in ("0", "1"))
    made = config(wanted(workers=[one, two, []]))
    shown = [worker.get("extraMounts", []) for worker in made["nodes"][1:]]
    assert [[each["containerPath"] for each in mounts] for mounts in shown] == [
        ["/ask/0"], ["/ask/1"], [],
    ]  # fmt: skip


def test_gates_are_switches_and_apis_are_words() -> None:
    """As kind wants them: another type is refused by it."""
    made = config(
        wanted(gates=("DRAAdminAccess=true", "Other=false"), runtime_config=("api/all=true",))
    )
    assert made["featureGates"] == {"DRAAdminAccess": True, "Other": False}
    assert made["runtimeConfig"] == {"api/all": "true"}


@pytest.mark.parametrize(
    ("version", "kubeadm"),
    [("1.35.9", "v1beta3"), ("1.36.0-rc.1", "v1beta4"), ("1.36.0", "v1beta4")],
)
def test_the_version_decides_which_kubeadm_is_patched(version: str, kubeadm: str) -> None:
    (patch,) = patches(config(wanted(version=version))).values()
    assert patch["apiVersion"] == f"kubeadm.k8s.io/{kubeadm}"


def test_the_text_is_the_configuration_as_yaml() -> None:
    given = wanted(
        workers=[MOUNTS["cdi"]], gates=("DRAAdminAccess=true",), runtime_config=("api/all=false",)
    )
    assert yaml.safe_load(text(given)) == config(given)
