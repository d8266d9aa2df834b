"""After a removal: nothing of the lab is left on this machine, and its GPUs are everybody's again.

Parameters: stack, and what the lab had of this machine: containers (of Docker; recorded: those that
the state names; daemon: id of the Docker daemon that they were in), node (the machine itself as
one), gpus. Only that is looked at: a driver of somebody else has files of the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from checks.prerequisites import gpus
from checks.result import CheckFailed, Checklist, CheckSkipped
from machine import (
    cluster_state,
    docker,
    gpu_host,
    host_node,
    host_places,
    kind_docker,
    temporary_files,
)

AGAIN = "run: make destroy STACK={}"


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    stack = parameters["stack"]
    again = AGAIN.format(stack)
    checklist = Checklist(module)

    def verify(identity: str, title: str, probe: Callable[[], str], remedy: str) -> None:
        checklist.verify(identity, title, probe, expected="nothing", remedy=remedy)

    verify("no-files", "the cluster's files are gone", lambda: _files(stack), again)
    verify(
        "no-credentials",
        "no copy of its kubeconfig is in the temporary folder",
        lambda: _credentials(stack),
        again,
    )
    verify("no-processes", "its processes have ended", lambda: _processes(stack), again)
    if parameters["containers"]:
        verify(
            "no-containers",
            "no container of it is left in Docker",
            lambda: _containers(stack, parameters["recorded"], parameters["daemon"]),
            again,
        )
    if parameters["node"]:
        verify("no-node", "this machine is no node any more", _node, again)
    if parameters["gpus"]:
        _add_gpus(checklist)
    return checklist.to_json()


def _files(stack: str) -> str:
    folder = cluster_state.RUN / stack
    if folder.exists():
        raise CheckFailed(str(folder))
    return "nothing"


def _credentials(stack: str) -> str:
    if left := temporary_files.copies(stack):
        raise CheckFailed(", ".join(map(str, left)))
    return "nothing"


def _processes(stack: str) -> str:
    if left := cluster_state.processes(cluster_state.RUN / stack):
        raise CheckFailed(", ".join(f"{process.name()} ({process.pid})" for process in left))
    return "nothing"


def _containers(stack: str, recorded: Collection[str], daemon: str) -> str:
    """Containers without a mark may be of a cluster that an earlier version made, if the state
    names them; others are somebody else's."""
    if daemon and (asked := str(docker.info().get("ID"))) != daemon:
        raise CheckFailed(
            f"the cluster was made in Docker daemon {daemon}, and this is {asked}",
            remedy="have docker ask that one (DOCKER_HOST, docker context) and run: make destroy "
            f"STACK={stack}; if that daemon is gone for good, so is the cluster",
        )
    if left := kind_docker.ours(stack):
        raise CheckFailed(", ".join(left))
    if left := sorted({*kind_docker.ours(stack, unmarked=True)} & {*recorded}):
        raise CheckFailed(
            f"{', '.join(left)}, of which Docker does not tell whose they are",
            remedy=f"if they are of this stack, run: docker rm --force --volumes {' '.join(left)}",
        )
    return "nothing"


def _node() -> str:
    if left := host_node.leftovers():
        raise CheckFailed(", ".join(left))
    return "nothing"


def _add_gpus(checklist: Checklist) -> None:
    host = gpus.Host()

    def modes() -> str:
        try:
            host.driver = gpu_host.find(gpu_host.described())
        except (gpu_host.NoDriver, gpu_host.NoToolkit) as error:
            raise CheckSkipped(error.found) from error
        host.gpus = gpu_host.gpus(host.driver)
        return host.compute_modes()

    for identity, title, probe, expected, remedy in (
        (
            "compute-mode",
            "no GPU is reserved for one process",
            modes,
            gpu_host.DEFAULT_MODE,
            "run: sudo nvidia-smi -c DEFAULT",
        ),
        (
            "no-mps",
            "no MPS daemon and no folder of one is left",
            host.mps_daemon,
            "none",
            f"run: echo quit | sudo nvidia-cuda-mps-control; sudo rm -r {gpus.MPS_FOLDER}",
        ),
        (
            "no-cdi-files",
            "no CDI file of the driver is left",
            _cdi_files,
            "nothing",
            f"run: sudo rm {host_places.CDI}/{host_places.CDI_FILES}",
        ),
    ):
        checklist.verify(identity, title, probe, expected=expected, remedy=remedy)


def _cdi_files() -> str:
    if left := sorted(host_places.CDI.glob(host_places.CDI_FILES)):
        raise CheckFailed(", ".join(map(str, left)))
    return "nothing"
