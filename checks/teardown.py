"""After a removal: nothing of the lab is left on this machine, and its GPUs are everybody's again.

Parameters: stack, and what the lab had of this machine: containers (of Docker; recorded: those that
the state names; daemon: id of the Docker daemon that they were in), node (the machine itself as
one), gpus. Only that is looked at: a driver of somebody else has files of the same names.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from checks.prerequisites import gpus
from checks.result import CheckFailed, CheckSkipped
from checks.steps import Scenario, Step, verify
from machine import (
    cluster_state,
    docker,
    gpu_host,
    host_node,
    host_places,
    kind_docker,
    temporary_files,
)


class Removed(Scenario):
    """What the stack had of this machine."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.parameters = parameters
        self.stack: str = parameters["stack"]
        self.folder = cluster_state.RUN / self.stack
        self.host = gpus.Host()
        self.remedy = f"run: make destroy STACK={self.stack}"

    def containers(self) -> str:
        """Containers without a mark may be of a cluster that an earlier version made, if the state
        names them; others are somebody else's."""
        daemon = self.parameters["daemon"]
        if daemon and (asked := str(docker.info().get("ID"))) != daemon:
            raise CheckFailed(
                f"the cluster was made in Docker daemon {daemon}, and this is {asked}",
                remedy="have docker ask that one (DOCKER_HOST, docker context) and "
                f"{self.remedy}; if that daemon is gone for good, so is the cluster",
            )
        nothing(kind_docker.ours(self.stack))
        unmarked = {*kind_docker.ours(self.stack, unmarked=True)}
        if found := sorted(unmarked & {*self.parameters["recorded"]}):
            raise CheckFailed(
                f"{', '.join(found)}, of which Docker does not tell whose they are",
                remedy="if they are of this stack, "
                f"run: docker rm --force --volumes {' '.join(found)}",
            )
        return "nothing"

    def compute_modes(self) -> str:
        try:
            self.host.driver = gpu_host.find(gpu_host.described())
        except (gpu_host.NoDriver, gpu_host.NoToolkit) as error:
            raise CheckSkipped(error.found) from error
        self.host.gpus = gpu_host.gpus(self.host.driver)
        return self.host.compute_modes()


def nothing(found: Iterable[object]) -> str:
    """CheckFailed with what was found, if anything was."""
    if names := [str(each) for each in found]:
        raise CheckFailed(", ".join(names))
    return "nothing"


STEPS: tuple[Step[Removed], ...] = (
    Step("no-files", "the cluster's files are gone",
         lambda s: nothing([s.folder] if s.folder.exists() else []), "nothing"),
    Step("no-credentials", "no copy of its kubeconfig is in the temporary folder",
         lambda s: nothing(temporary_files.copies(s.stack)), "nothing"),
    Step("no-processes", "its processes have ended",
         lambda s: nothing(f"{p.name()} ({p.pid})" for p in cluster_state.processes(s.folder)),
         "nothing"),
    Step("no-containers", "no container of it is left in Docker",
         Removed.containers, "nothing", when=lambda s: s.parameters["containers"]),
    Step("no-node", "this machine is no node any more",
         lambda _: nothing(host_node.leftovers()), "nothing", when=lambda s: s.parameters["node"]),
    Step("compute-mode", "no GPU is reserved for one process",
         Removed.compute_modes, gpu_host.DEFAULT_MODE, when=lambda s: s.parameters["gpus"],
         remedy="run: sudo nvidia-smi -c DEFAULT"),
    Step("no-mps", "no MPS daemon and no folder of one is left",
         lambda s: s.host.mps_daemon(), "none", when=lambda s: s.parameters["gpus"],
         remedy=lambda _: "run: echo quit | sudo nvidia-cuda-mps-control; "
                          f"sudo rm -r {gpus.MPS_FOLDER}"),
    Step("no-cdi-files", "no CDI file of the driver is left",
         lambda _: nothing(sorted(host_places.CDI.glob(host_places.CDI_FILES))), "nothing",
         when=lambda s: s.parameters["gpus"],
         remedy=lambda _: f"run: sudo rm {host_places.CDI}/{host_places.CDI_FILES}"),
)  # fmt: skip


def run(module: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return verify(module, STEPS, Removed(parameters)).to_json()
