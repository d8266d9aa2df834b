"""What modules need of this machine's GPU driver and GPUs, whatever the node is that gives them to
pods.
"""

import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from checks.prerequisites import statements
from checks.prerequisites.statements import read, refuse
from checks.result import CheckFailed, Checklist, require
from machine import gpu_host, host_machine
from machine.errors import LabError

OLDEST_CAPABILITY = (6, 0)
MPS_CAPABILITY = (7, 0)
"""Volta: before it MPS has no limits for its clients (NVIDIA's MPS documents)."""
MPS_PROGRAMS = ("nvidia-cuda-mps-control", "nvidia-cuda-mps-server")
MPS_FOLDER = Path("/tmp/nvidia-mps")  # noqa: S108
CONTAINER = re.compile(r"docker|containerd|kubepods|libpod|lxc")
"""In the control group of a process of a container, as docker, containerd and others name it."""
TITLES = {
    "gpu-driver": "the GPU driver is installed, new enough for the DRA driver",
    "gpus": "nvidia-smi sees a GPU",
    "compute-capability": "the DRA driver supports every GPU",
    "mps-capability": "MPS can limit its clients on every GPU",
    "compute-mode": "no GPU is reserved for one process",
    "mps-programs": "the driver brings the MPS daemon",
    "no-mps-daemon": "no MPS daemon of the machine captures the GPUs' containers",
}
REMEDIES = {
    "gpu-driver": f"install NVIDIA's driver {gpu_host.OLDEST_DRIVER} or later",
    "gpus": "run nvidia-smi; restart the machine after an update of its driver",
    "compute-capability": "use another GPU",
    "mps-capability": "modules that set limits will fail on this GPU",
    "compute-mode": "run: sudo nvidia-smi -c DEFAULT",
    "mps-programs": "install the driver's package that holds nvidia-cuda-mps-control (Debian, "
    "Ubuntu: nvidia-compute-utils)",
    "no-mps-daemon": f"run: echo quit | sudo nvidia-cuda-mps-control; sudo rm -r {MPS_FOLDER}",
}


def add(checklist: Checklist, *needs: str, made: bool = False) -> "Host":
    """What the driver and the GPUs of this machine must be; returns what it found of them.

    needs: the statements without which there is no driver to look at; made: whether the lab is
    there already, so that its own pods may use a GPU.
    """
    host = Host()
    verify = partial(statements.verify, checklist, TITLES, REMEDIES)
    verify("gpu-driver", host.driver_version, f"{gpu_host.OLDEST_DRIVER} or later", *needs)
    verify("gpus", host.products, "at least one", "gpu-driver")
    for identity, oldest, warning, need in (
        ("compute-capability", OLDEST_CAPABILITY, False, "gpus"),
        ("mps-capability", MPS_CAPABILITY, True, "compute-capability"),
    ):
        probe = partial(host.capability, oldest, warning=warning)
        verify(identity, probe, "{}.{} or later".format(*oldest), need)
    modes = host.modes_beside_the_lab if made else host.compute_modes
    verify("compute-mode", modes, gpu_host.DEFAULT_MODE, "gpus")
    verify("mps-programs", host.mps_programs, ", ".join(MPS_PROGRAMS), "gpus")
    verify("no-mps-daemon", host.mps_daemon, f"no {MPS_PROGRAMS[0]} running, no {MPS_FOLDER}")
    return host


@dataclass
class Host:
    """This machine's GPU driver and GPUs, asked once; empty where the statement about it failed."""

    driver: gpu_host.Driver | None = None
    gpus: list[gpu_host.Gpu] = field(default_factory=list)

    def driver_version(self) -> str:
        self.driver = gpu_host.find(gpu_host.described())
        found = self.driver.version
        if int(found.partition(".")[0]) < gpu_host.OLDEST_DRIVER:
            raise CheckFailed(found)
        return f"{found} in {self.driver.libraries}"

    def products(self) -> str:
        assert self.driver is not None  # noqa: S101
        self.gpus = gpu_host.gpus(self.driver)
        names = ", ".join(f"{gpu.product} ({gpu.uuid})" for gpu in self.gpus)
        return require(bool(self.gpus), names or "none")

    def capability(self, oldest: tuple[int, int], *, warning: bool = False) -> str:
        found = sorted({gpu.compute_capability for gpu in self.gpus})
        older = [each for each in found if tuple(map(int, each.split("."))) < oldest]
        return refuse(older, "", ", ".join(found), warning=warning)

    def compute_modes(self) -> str:
        reserved = [f"{gpu.uuid}: {gpu.compute_mode}" for gpu in self.gpus if gpu.reserved]
        return refuse(reserved, "", gpu_host.DEFAULT_MODE)

    def modes_beside_the_lab(self) -> str:
        """The same, but an MPS daemon that is not the machine's own may have a GPU for itself."""
        try:
            return self.compute_modes()
        except LabError as reserved:
            if not any(is_mps(process) for process in psutil.process_iter(["name"])):
                raise
            return f"{reserved}, for the MPS daemon of the lab"

    def mps_programs(self) -> str:
        assert self.driver is not None  # noqa: S101
        programs = self.driver.programs
        missing = [name for name in MPS_PROGRAMS if not (programs / name).exists()]
        return refuse(missing, "missing: ", f"both in {programs}")

    def mps_daemon(self) -> str:
        ours = {process.pid for process in host_machine.grouped()}
        for process in psutil.process_iter(["name"]):
            if is_mps(process) and process.pid not in ours and not in_container(process.pid):
                raise CheckFailed(f"{process.info['name']} runs as process {process.pid}")
        if MPS_FOLDER.exists():
            raise CheckFailed(f"{MPS_FOLDER} exists")
        return "none"


def is_mps(process: psutil.Process) -> bool:
    """Whether it is a daemon or a server of MPS. The kernel keeps 15 characters of a name."""
    return bool(process.info["name"].startswith("nvidia-cuda-mps"))


def in_container(pid: int) -> bool:
    """Whether its control group is that of a container: such a daemon has pipes of its own."""
    return bool(CONTAINER.search(read(Path(f"/proc/{pid}/cgroup"))))
