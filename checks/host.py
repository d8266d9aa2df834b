"""Module 0 on a GPU host: whether this machine can be a node, and its GPUs be given to pods.

Parameters: stack, gpu (whether the lab needs one: a bare cluster does not).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import semver

from checks.result import Checklist, NotSo, Status
from components.cluster import host_places
from operations import gpu_host, host_node, node_machine
from operations.errors import OperationError
from toolchain import host

OLDEST_DRIVER = 565
"""NVIDIA's documents of the DRA driver ask for this version of the GPU driver, or later."""
OLDEST_CAPABILITY = (6, 0)
MPS_CAPABILITY = (7, 0)
"""Volta: before it MPS has no limits for its clients (NVIDIA's MPS documents)."""
CONTROLLERS = {"cpu", "memory", "pids"}
NEEDED_DISK = 2.0
"""GB: programs, images unpacked, logs; half of it was seen to be used."""
MPS_PROGRAMS = ("nvidia-cuda-mps-control", "nvidia-cuda-mps-server")
MPS_FOLDER = Path("/tmp/nvidia-mps")  # noqa: S108


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    checklist = Checklist(module)
    for name, (title, expected, probe, remedy) in _of_machine(parameters["stack"]).items():
        checklist.verify(name, title, said(probe), expected=expected, remedy=remedy)
    if parameters["gpu"]:
        add_gpu(checklist)
    return checklist.to_json()


Statement = tuple[str, str, Callable[[], str], str]


def _of_machine(stack: str) -> dict[str, Statement]:
    return {
        "host-tools": (
            "the programs and images of the host node are there",
            "all",
            _tools,
            host.REMEDY,
        ),
        "host-free": (
            "this machine has no kubelet yet, and its networks are free",
            "root, no other kubelet or node, no route to the node's networks",
            lambda: host_node.require_usable(stack),
            "see what was found",
        ),
        "host-cgroups": (
            "the kernel has the control groups that a kubelet needs",
            ", ".join(sorted(CONTROLLERS)),
            _controllers,
            "boot with these controllers on, or give this container its own control groups",
        ),
        "host-disk": (
            f"there is room in {host_places.STATE.parent}",
            f"{NEEDED_DISK} GB",
            _disk,
            "free some room in that file system",
        ),
    }


def said(probe: Callable[[], str]) -> Callable[[], str]:
    """The probe, with what an operation says in its error as what was found."""

    def call() -> str:
        try:
            return probe()
        except OperationError as error:
            raise NotSo(str(error)) from error

    return call


def _tools() -> str:
    missing = host_node.missing_tools()
    if missing:
        raise NotSo(f"missing: {', '.join(missing)}")
    return "all"


def _controllers() -> str:
    found = node_machine.controllers()
    if missing := CONTROLLERS - found:
        raise NotSo(f"missing: {', '.join(sorted(missing))}")
    return f"version {2 if node_machine.unified() else 1}: {', '.join(sorted(found))}"


def _disk() -> str:
    free = shutil.disk_usage(host_places.STATE.parent).free / 1e9
    if free < NEEDED_DISK:
        raise NotSo(f"{free:.1f} GB free")
    return f"{free:.1f} GB free"


# --- the GPU ---------------------------------------------------------------------------------


def add_gpu(checklist: Checklist) -> None:
    """What the driver and the GPUs of this machine must be."""
    gpus = Host()

    def verify(
        identity: str,
        title: str,
        probe: Callable[[], str],
        expected: str,
        remedy: str,
        needs: str = "gpus",
        failure: Status = "failed",
    ) -> None:
        checklist.verify(
            identity,
            title,
            said(probe),
            expected=expected,
            remedy=remedy,
            needs=[needs] if needs else [],
            failure=failure,
        )

    verify(
        "gpu-driver",
        "the GPU driver is installed, new enough for the DRA driver",
        gpus.driver_version,
        f"{OLDEST_DRIVER} or later",
        f"install NVIDIA's driver {OLDEST_DRIVER} or later",
        needs="",
    )
    verify(
        "gpus",
        "nvidia-smi sees a GPU",
        gpus.products,
        "at least one",
        "run nvidia-smi; after a driver update the machine must be started anew",
        needs="gpu-driver",
    )
    verify(
        "compute-capability",
        "the DRA driver supports every GPU",
        lambda: gpus.capability(OLDEST_CAPABILITY),
        "{}.{} or later".format(*OLDEST_CAPABILITY),
        "use another GPU",
    )
    verify(
        "mps-capability",
        "MPS can limit its clients on every GPU",
        lambda: gpus.capability(MPS_CAPABILITY),
        "{}.{} or later".format(*MPS_CAPABILITY),
        "modules that set limits will fail on this GPU",
        needs="compute-capability",
        failure="warning",
    )
    verify(
        "compute-mode",
        "no GPU is reserved for one process",
        gpus.compute_modes,
        host_node.DEFAULT_MODE,
        "run: nvidia-smi -c DEFAULT",
    )
    verify(
        "mps-programs",
        "the driver brings the MPS daemon",
        gpus.mps_programs,
        ", ".join(MPS_PROGRAMS),
        "install the driver's package that holds nvidia-cuda-mps-control "
        "(Debian, Ubuntu: nvidia-compute-utils)",
    )
    verify(
        "no-mps-daemon",
        "no MPS daemon of the machine captures the GPUs' containers",
        gpus.mps_daemon,
        f"no {MPS_PROGRAMS[0]} running, no {MPS_FOLDER}",
        f"run: echo quit | nvidia-cuda-mps-control; rm -r {MPS_FOLDER}",
        needs="",
    )


class Host:
    """This machine's GPU driver and GPUs, asked once."""

    def __init__(self) -> None:
        self._driver: gpu_host.Driver | None = None
        self._gpus: list[gpu_host.Gpu] = []

    def driver_version(self) -> str:
        self._driver = gpu_host.find(gpu_host.cdi_spec())
        found = self._driver.version
        if semver.Version.parse(found.partition(".")[0] + ".0.0").major < OLDEST_DRIVER:
            raise NotSo(found)
        return f"{found} in {self._driver.libraries}"

    def products(self) -> str:
        assert self._driver is not None  # noqa: S101
        self._gpus = gpu_host.gpus(self._driver)
        if not self._gpus:
            raise NotSo("none")
        return ", ".join(f"{gpu.product} ({gpu.uuid})" for gpu in self._gpus)

    def capability(self, oldest: tuple[int, int]) -> str:
        found = {gpu.compute_capability for gpu in self._gpus}
        for capability in found:
            major, _, minor = capability.partition(".")
            if (int(major), int(minor)) < oldest:
                raise NotSo(capability)
        return ", ".join(sorted(found))

    def compute_modes(self) -> str:
        for gpu in self._gpus:
            if gpu.compute_mode != host_node.DEFAULT_MODE:
                raise NotSo(f"{gpu.uuid}: {gpu.compute_mode}")
        return host_node.DEFAULT_MODE

    def mps_programs(self) -> str:
        assert self._driver is not None  # noqa: S101
        missing = [name for name in MPS_PROGRAMS if not (self._driver.programs / name).exists()]
        if missing:
            raise NotSo(f"missing: {', '.join(missing)}")
        return f"both in {self._driver.programs}"

    def mps_daemon(self) -> str:
        ours = {process.pid for process in node_machine.grouped()}
        for process in psutil.process_iter(["name"]):
            # The kernel keeps 15 characters of a name.
            if process.info["name"].startswith("nvidia-cuda-mps") and process.pid not in ours:
                raise NotSo(f"{process.info['name']} runs as process {process.pid}")
        if MPS_FOLDER.exists():
            raise NotSo(f"{MPS_FOLDER} exists")
        return "none"
