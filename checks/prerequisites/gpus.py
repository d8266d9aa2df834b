"""What modules need of this machine's GPU driver and GPUs, whatever the node is that gives them to
pods.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import psutil
import semver

from checks.result import CheckFailed, Checklist
from machine import gpu_host, host_machine
from machine.errors import LabError

OLDEST_CAPABILITY = (6, 0)
MPS_CAPABILITY = (7, 0)
"""Volta: before it MPS has no limits for its clients (NVIDIA's MPS documents)."""
MPS_PROGRAMS = ("nvidia-cuda-mps-control", "nvidia-cuda-mps-server")
MPS_FOLDER = Path("/tmp/nvidia-mps")  # noqa: S108
CONTAINER = re.compile(r"docker|containerd|kubepods|libpod|lxc")
"""In the control group of a process of a container, as docker, containerd and others name it."""


def add(checklist: Checklist, needs: str = "", *, made: bool = False) -> Host:
    """What the driver and the GPUs of this machine must be; what it found of them.

    needs: the statement without which there is no driver to look at; made: whether the lab is
    there already, so that its own pods may use a GPU.
    """
    host = Host()
    for identity, title, probe, expected, remedy, need in (
        *_driver(host, needs),
        *_mps(host, made),
    ):
        checklist.verify(identity, title, probe, expected, remedy, needs=[need] if need else [])
    return host


Statement = tuple[str, str, Callable[[], str], str, str, str]
"""Id, title, probe, expected, remedy, and the statement that it needs."""


def _driver(host: Host, needs: str) -> list[Statement]:
    return [
        (
            "gpu-driver",
            "the GPU driver is installed, new enough for the DRA driver",
            host.driver_version,
            f"{gpu_host.OLDEST_DRIVER} or later",
            f"install NVIDIA's driver {gpu_host.OLDEST_DRIVER} or later",
            needs,
        ),
        (
            "gpus",
            "nvidia-smi sees a GPU",
            host.products,
            "at least one",
            "run nvidia-smi; after a driver update the machine must be started anew",
            "gpu-driver",
        ),
        (
            "compute-capability",
            "the DRA driver supports every GPU",
            lambda: host.capability(OLDEST_CAPABILITY),
            "{}.{} or later".format(*OLDEST_CAPABILITY),
            "use another GPU",
            "gpus",
        ),
    ]


def _mps(host: Host, made: bool) -> list[Statement]:
    return [
        (
            "mps-capability",
            "MPS can limit its clients on every GPU",
            lambda: host.capability(MPS_CAPABILITY, warning=True),
            "{}.{} or later".format(*MPS_CAPABILITY),
            "modules that set limits will fail on this GPU",
            "compute-capability",
        ),
        (
            "compute-mode",
            "no GPU is reserved for one process",
            host.modes_beside_the_lab if made else host.compute_modes,
            gpu_host.DEFAULT_MODE,
            "run: sudo nvidia-smi -c DEFAULT",
            "gpus",
        ),
        (
            "mps-programs",
            "the driver brings the MPS daemon",
            host.mps_programs,
            ", ".join(MPS_PROGRAMS),
            "install the driver's package that holds nvidia-cuda-mps-control "
            "(Debian, Ubuntu: nvidia-compute-utils)",
            "gpus",
        ),
        (
            "no-mps-daemon",
            "no MPS daemon of the machine captures the GPUs' containers",
            host.mps_daemon,
            f"no {MPS_PROGRAMS[0]} running, no {MPS_FOLDER}",
            f"run: echo quit | sudo nvidia-cuda-mps-control; sudo rm -r {MPS_FOLDER}",
            "",
        ),
    ]


class Host:
    """This machine's GPU driver and GPUs, asked once; empty where the statement about it failed."""

    def __init__(self) -> None:
        self.driver: gpu_host.Driver | None = None
        self.gpus: list[gpu_host.Gpu] = []

    def driver_version(self) -> str:
        self.driver = gpu_host.find(gpu_host.described())
        found = self.driver.version
        if semver.Version.parse(found.partition(".")[0] + ".0.0").major < gpu_host.OLDEST_DRIVER:
            raise CheckFailed(found)
        return f"{found} in {self.driver.libraries}"

    def products(self) -> str:
        assert self.driver is not None  # noqa: S101
        self.gpus = gpu_host.gpus(self.driver)
        if not self.gpus:
            raise CheckFailed("none")
        return ", ".join(f"{gpu.product} ({gpu.uuid})" for gpu in self.gpus)

    def capability(self, oldest: tuple[int, int], *, warning: bool = False) -> str:
        found = {gpu.compute_capability for gpu in self.gpus}
        for capability in found:
            major, _, minor = capability.partition(".")
            if (int(major), int(minor)) < oldest:
                raise CheckFailed(capability, warning=warning)
        return ", ".join(sorted(found))

    def compute_modes(self) -> str:
        for gpu in self.gpus:
            if gpu.reserved:
                raise CheckFailed(f"{gpu.uuid}: {gpu.compute_mode}")
        return gpu_host.DEFAULT_MODE

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
        missing = [name for name in MPS_PROGRAMS if not (self.driver.programs / name).exists()]
        if missing:
            raise CheckFailed(f"missing: {', '.join(missing)}")
        return f"both in {self.driver.programs}"

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
    try:
        group = Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False
    return bool(CONTAINER.search(group))
