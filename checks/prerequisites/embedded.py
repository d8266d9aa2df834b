"""Module 0: what this machine needs for the cluster that is asked for, before anything is made.

Parameters: stack, kubernetesVersion, driverChart, featureGates and runtimeConfig ("Name=true"
strings).
"""

import platform
import re
import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from checks.prerequisites import statements
from checks.result import CheckFailed, Checklist, require
from machine import cluster_state
from toolchain import bootstrap
from toolchain.errors import disk_full
from toolchain.tools import DRIVER_CHARTS, KUBERNETES_VERSION

BIN = Path(".tools/bin")
TESTED = ("Linux", "x86_64")
NEEDED_DISK = {".run": 0.3, ".state": 0.02, ".results": 0.02}
"""GB by folder. A fresh cluster takes 0.14 GB, of which etcd's log, made in full, is 0.13; a state
with its history 2 MB (measured)."""
OPERATOR_DISK = dict.fromkeys(NEEDED_DISK, 0.02)
"""GB: what a state and its results take where no cluster is made here, or it is made already."""
MADE_DISK = 0.1
"""GB: what logs may add where nodes are there already."""
FULL = 0.01
"""GB: with so little free nothing can be written."""
NEEDED_MEMORY = 1.5
"""GB: twice what the control plane, kwok and the engine were seen to take."""
SETUP = "run: make setup"
GATE_REFUSED = r"unrecognized feature gate: \w+|cannot set feature gate[^\"\]]*"
API_REFUSED = r"unknown api groups [^,\]\"]*"
GATES_ASKED = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
TITLES = {
    "platform": "the workshop is tested on this platform",
    "checkout-path": "the tools work in the folder of this checkout",
    "driver-chart": "the driver's Helm chart exists",
    "feature-gates": "every component knows the feature gates that are asked for",
    "runtime-config": "the API server knows the APIs that runtimeConfig switches",
    "disk": "the disk has room for the cluster's files, the state and the results",
    "memory": "there is enough memory for the control plane",
}
REMEDIES = {
    "platform": "it may work all the same; please report what you see",
    "checkout-path": "move the checkout to another folder; then run: make clean setup",
    "driver-chart": f"{SETUP}; or set driverChart to a chart that exists",
    "feature-gates": "correct featureGates; `.tools/bin/kube-apiserver --help` lists what there is",
    "runtime-config": "correct runtimeConfig, for example resource.k8s.io/v1beta2=true",
    "disk": "free some room in the file system of that folder",
    "memory": "end some other programs first",
}


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    checklist = Checklist(module)
    verify = partial(statements.verify, checklist, TITLES, REMEDIES)
    version = parameters["kubernetesVersion"]
    add_platform(checklist)
    for name, wanted, remedy in _tools(version):
        probe = partial(_version, name, wanted)
        checklist.verify(f"tool-{name}", f"{name} runs", probe, f"version {wanted}", remedy)
    add_chart(checklist, parameters["driverChart"])
    tools = [f"tool-{name}" for name in GATES_ASKED]
    asked = parameters["featureGates"]
    gates = partial(_accepted, asked, "feature-gates", GATES_ASKED, GATE_REFUSED)
    verify("feature-gates", gates, f"gates that Kubernetes {version} knows", *tools)
    asked = parameters["runtimeConfig"]
    apis = partial(_accepted, asked, "runtime-config", GATES_ASKED[:1], API_REFUSED)
    verify("runtime-config", apis, f"API groups that Kubernetes {version} knows", *tools)
    made = cluster_state.is_made(parameters["stack"])
    add_disk(checklist, OPERATOR_DISK if made else NEEDED_DISK)
    add_memory(checklist, NEEDED_MEMORY)
    return checklist.to_json()


def of_operator(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """What the operator's side needs for a cluster that exists already; the cluster itself is asked
    when a stack is brought up."""
    checklist = Checklist(module)
    add_platform(checklist)
    add_chart(checklist, parameters["driverChart"])
    add_disk(checklist, OPERATOR_DISK)
    return checklist.to_json()


def add_platform(checklist: Checklist) -> None:
    verify = partial(statements.verify, checklist, TITLES, REMEDIES)
    found = (platform.system(), platform.machine())
    tested = partial(require, found == TESTED, " ".join(found))
    verify("platform", tested, " ".join(TESTED), failure="warning")
    verify("checkout-path", _place, f"none of {' '.join(bootstrap.REFUSED)} in the path")


def add_chart(checklist: Checklist, reference: str) -> None:
    verify = partial(statements.verify, checklist, TITLES, REMEDIES)
    verify("driver-chart", partial(_chart, reference), reference)


def add_disk(checklist: Checklist, needed: dict[str, float]) -> None:
    """needed: GB by folder of the project."""
    expected = ", ".join(f"{size} GB in {folder}" for folder, size in needed.items())
    statements.verify(checklist, TITLES, REMEDIES, "disk", partial(_disk, needed), expected)


def add_memory(checklist: Checklist, needed: float) -> None:
    """needed: GB."""
    available = psutil.virtual_memory().available / 1e9
    enough = partial(require, available >= needed, f"{available:.1f} GB available")
    verify = partial(statements.verify, checklist, TITLES, REMEDIES)
    verify("memory", enough, f"{needed} GB available", failure="warning")


def _place() -> str:
    if odd := bootstrap.refused(Path.cwd()):
        raise CheckFailed(f"{odd} in {Path.cwd()}")
    return "none"


def _tools(kubernetes: str) -> list[tuple[str, str, str]]:
    """Program, how its version must begin, and the remedy."""
    other = f"{SETUP}; the embedded cluster has Kubernetes {KUBERNETES_VERSION} only"
    return [
        *((name, kubernetes, other) for name in GATES_ASKED),
        ("etcd", "3.6", SETUP),
        ("kwok", "0.8", SETUP),
        ("kwokctl", "0.8", SETUP),
    ]


def _version(name: str, wanted: str) -> str:
    found = str(statements.read_version(BIN / name))
    if not f"{found}.".startswith(f"{wanted}."):
        raise CheckFailed(f"version {found}")
    return found


def _chart(reference: str) -> str:
    if reference.startswith("oci://"):
        return f"{reference} (fetched when it is installed)"
    if reference.endswith(".tgz"):
        if not Path(reference).is_file():
            raise CheckFailed(f"there is no {reference}")
    elif not (Path(reference) / "Chart.yaml").is_file():
        raise CheckFailed(f"{reference} holds no Chart.yaml")
    return reference


def _accepted(values: list[str], flag: str, programs: Iterable[str], refusal: str) -> str:
    """The values. Raises CheckFailed if one of the programs, which check their flags before they
    start, refuses one in such words."""
    for value in values:
        for program in programs:
            errors = statements.ask(BIN / program, f"--{flag}={value}").errors
            if match := re.search(refusal, errors):
                raise CheckFailed(f"{program}: {match[0]}")
    return ", ".join(values) or "none asked for"


def _disk(needed: dict[str, float]) -> str:
    free = {folder: _free(Path(folder)) for folder in needed}
    for folder, size in needed.items():
        if free[folder] < FULL:
            raise CheckFailed(disk_full(folder))
        require(free[folder] >= size, f"{free[folder]:.2f} GB free in {folder}")
    return f"{min(free.values()):.1f} GB free"


def _free(folder: Path) -> float:
    return shutil.disk_usage(folder if folder.exists() else folder.parent).free / 1e9


def defaults() -> dict[str, Any]:
    """The parameters for a person who runs the program alone."""
    return {
        "stack": "dev",
        "kubernetesVersion": KUBERNETES_VERSION,
        "driverChart": f".tools/charts/dra-driver-nvidia-gpu-{DRIVER_CHARTS[0]}",
        "featureGates": [],
        "runtimeConfig": [],
    }
