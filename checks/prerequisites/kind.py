"""Module 0 for `cluster: kind`: what this machine needs so that Docker can be the cluster, and its
GPUs be given to it. Nothing is changed, and no server but the Docker daemon is asked.

Parameters: stack, kubernetesVersion, workers (how many), driver ("nvidia", or "example" for mock
devices), gpu (whether the lab needs one; with driver "example" none is looked for), mocked (whether
GPUs are mocked), gpus (indices or UUIDs of those that nodes get, [] for all), strategy ("toolkit"
or "cdi": how the driver gets into a node, see machine/kind_node_needs.py; "auto": what Docker is
set up for), nodeImage ("" for that of make kind-node-image, else kind's own), driverChart (as in
embedded.py, "" for none), strict (when false, only what is in FATAL stops an update; all else is a
warning).
"""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import semver

from checks.prerequisites import docker_daemon, embedded, kind_gpu, mocked_driver, statements
from checks.prerequisites.docker_daemon import Docker
from checks.prerequisites.statements import read, refuse
from checks.result import CheckFailed, Checklist, CheckSkipped, require
from machine import cluster_state, docker, kind_docker, kind_gpus, kind_images, kind_places
from toolchain import kind as toolchain_kind
from toolchain.layout import TOOLS

FATAL = (
    "docker-program",
    "docker-daemon",
    "docker-runtime",
    "kind",
    "kind-tools",
    "node-image",
    "name-free",
    "gpu-present",
    "kernel-driver",
    "gpus",
    "gpu-subset",
    "cdi-spec",
    "cdi-mounts",
    "mocked-driver",
    "driver-image",
    "no-gpu-driver",
)
"""Without these there would be no cluster, or one without the GPUs that were asked for."""
OLDEST_KIND = semver.Version(0, 32, 0)
"""The first that writes kubeadm's v1beta4 for Kubernetes 1.36 and later."""
OLDEST_KERNEL = semver.Version(5, 15, 0)
INOTIFY = {"max_user_watches": 524288, "max_user_instances": 512}
"""As kind's documents have it for several nodes; with less "too many open files"."""
SYSCTL = " ".join(f"fs.inotify.{name}={value}" for name, value in INOTIFY.items())
INOTIFY_FOLDER = Path("/proc/sys/fs/inotify")
NODE_DISK, IMAGE_DISK = 1.0, 3.0
"""GB in Docker's folder, for each node and for the image, estimated."""
NODE_MEMORY, CLUSTER_MEMORY = 0.7, 2.0
"""GB, estimated: half a GB a node was seen without a workload."""
KERNEL_RELEASE = Path("/proc/sys/kernel/osrelease")
LOCAL_IMAGE = re.compile(r"(localhost|local|127\.0\.0\.1)[:/]")
TITLES = {
    "disk-docker": "Docker's folder has room for images and nodes",
    "kernel": "the kernel is new enough",
    "inotify": "nodes can watch enough files",
    "wsl": "this is no Linux under Windows, or no GPU is asked of it",
    "kind": "kind runs",
    "kind-tools": "the images and charts that kind's nodes need are installed",
    "node-image": "the image of the nodes is on this machine",
    "name-free": "no other kind cluster has the name of this one",
}
REMEDIES = {
    "disk-docker": "run: docker system prune; or move Docker's data-root (/etc/docker/daemon.json)",
    "kernel": "install a newer kernel of your distribution; it may well work with this one",
    "inotify": f"run: sudo sysctl {SYSCTL}; to keep it: /etc/sysctl.d/99-kind.conf",
    "wsl": "use driver=example; or cluster=embedded, with simulated GPUs; see docs/wsl2.md",
    "kind": "run: make setup-kind",
    "kind-tools": toolchain_kind.REMEDY,
    "node-image": "run: docker pull {}",
    "name-free": "run: .tools/bin/kind delete cluster --name {}; or give the stack another name",
}


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    checklist = Checklist(module)
    embedded.add_platform(checklist)
    if parameters["driverChart"]:
        embedded.add_chart(checklist, parameters["driverChart"])
    of_nvidia = parameters["driver"] == "nvidia" and parameters["gpu"]
    with_gpu = of_nvidia and not parameters["mocked"]
    daemon = Docker(with_gpu)
    docker_daemon.add(checklist, daemon)
    _add_machine(checklist, parameters, daemon)
    if with_gpu:
        chosen = parameters | {"strategy": _strategy(parameters["strategy"])}
        kind_gpu.add(checklist, chosen, daemon.info)
    elif of_nvidia:
        mocked_driver.add(checklist)
    if not parameters["strict"]:
        checklist.findings = [
            replace(finding, status="warning")
            if finding.status == "failed" and finding.id not in FATAL
            else finding
            for finding in checklist.findings
        ]
    return checklist.to_json()


def defaults() -> dict[str, Any]:
    """The parameters for a person who runs the program alone."""
    return embedded.defaults() | {
        "kubernetesVersion": kind_images.versions()[0],
        "driver": "nvidia",
        "gpu": True,
        "mocked": False,
        "strategy": "auto",
        "gpus": [],
        "workers": 1,
        "nodeImage": "",
        "strict": True,
    }


def _strategy(mounts: str) -> str:
    """Without a daemon nothing is injected; that there is none is said elsewhere."""
    try:
        return kind_gpus.strategy(mounts)
    except docker.DockerError:
        return "cdi"


def _add_machine(checklist: Checklist, parameters: dict[str, Any], daemon: Docker) -> None:
    verify = partial(statements.verify, checklist, TITLES, REMEDIES)
    stack, nodes = parameters["stack"], 1 + parameters["workers"]
    disk = embedded.MADE_DISK if cluster_state.is_made(stack) else IMAGE_DISK + NODE_DISK * nodes
    verify("disk-docker", lambda: daemon.disk(disk), f"{disk:g} GB", "docker-daemon")
    embedded.add_disk(checklist, embedded.OPERATOR_DISK)
    embedded.add_memory(checklist, round(CLUSTER_MEMORY + NODE_MEMORY * nodes, 1))
    oldest = f"{OLDEST_KERNEL.major}.{OLDEST_KERNEL.minor} or later"
    verify("kernel", _kernel, oldest, failure="warning")
    verify("inotify", _inotify, SYSCTL, failure="warning")
    wsl = partial(_wsl, daemon.with_gpu)
    verify("wsl", wsl, "no WSL2, where NVIDIA's DRA driver finds no GPU")
    verify("kind", _kind, f"version {OLDEST_KIND} or later")
    verify("kind-tools", _tools, "images of pods, the example driver with its chart")
    image = kind_images.image_of(parameters["nodeImage"], parameters["kubernetesVersion"])
    verify("node-image", lambda: _image(image), image, "docker-daemon", about=image)
    name = kind_places.cluster(stack)
    free = f"no cluster {name} that is not of this stack"
    probe = partial(kind_docker.require_free, stack)
    verify("name-free", probe, free, "docker-daemon", about=name)


def _kernel() -> str:
    numbers = re.match(r"(\d+)\.(\d+)", read(KERNEL_RELEASE))
    if not numbers:
        raise CheckSkipped("this machine does not tell")
    found = semver.Version(int(numbers[1]), int(numbers[2]))
    return require(found >= OLDEST_KERNEL, read(KERNEL_RELEASE))


def _inotify() -> str:
    try:
        found = {name: int((INOTIFY_FOLDER / name).read_text()) for name in INOTIFY}
    except (OSError, ValueError) as error:
        raise CheckSkipped(f"{INOTIFY_FOLDER} cannot be read: {error}") from error
    enough = all(found[name] >= wanted for name, wanted in INOTIFY.items())
    return require(enough, ", ".join(f"{name} {value}" for name, value in found.items()))


def _wsl(with_gpu: bool) -> str:
    if "microsoft" not in read(KERNEL_RELEASE).lower():
        return "no WSL2"
    return require(not with_gpu, f"WSL2 ({read(KERNEL_RELEASE)})")


def _kind() -> str:
    found = statements.read_version(embedded.BIN / "kind", "version")
    if found < OLDEST_KIND:
        raise CheckFailed(f"version {found}")
    return str(found)


def _tools() -> str:
    # Of kind itself more is asked above.
    return refuse(
        (file for file in toolchain_kind.missing(TOOLS) if file != "bin/kind"), "missing: "
    )


def _image(image: str) -> str:
    """A registry is not asked: what is not here is fetched when the cluster is made."""
    try:
        found = docker.run("image", "inspect", "--format", "{{.Id}}", image)
    except docker.DockerError as error:
        if type(error) is not docker.DockerError:
            raise
        if kind_images.offline().get("reference") == image:
            return f"{image}, built by make kind-node-image; Docker gets it with the cluster"
        if LOCAL_IMAGE.match(image):
            raise CheckFailed("not there", remedy="run: make kind-node-image") from error
        raise CheckSkipped("not there yet: it is fetched when the cluster is made") from error
    return found.strip()
