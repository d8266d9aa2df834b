"""Lays out the root of a mocked driver, as NVIDIA's DRA driver looks for a real one.

    usr/lib64   the libraries, and the list of GPUs that they read
    usr/bin     nvidia-smi, nvidia-cuda-mps-control, nvidia-cuda-mps-server
    dev         a device node for each GPU, and those of the driver itself
    sys         where each GPU is plugged in, for the driver's NVIDIA_DRA_SYSFS_ROOT
    mocked      what changes: compute modes, time slices, health events, the log of nvidia-smi

There is no shell in it, so MPS's daemon runs without chroot, as NVIDIA's template has it.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.errors import SetupError
from toolchain.mocked_driver.build import (
    DRIVER_VERSION,
    LIBRARIES,
    PROGRAMS,
    SONAME,
    library_file,
)

MOST_GPUS = 16
LIST = f"mocked-gpus.so.{DRIVER_VERSION}"
"""Named like a library of the driver, as NVIDIA's CDI specifications carry those into pods."""
STATE = "mocked"
EVENTS = "events"
SMI_LOG = "nvidia-smi.log"
PCI_BUS_ID = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.0")
TEXT = re.compile(r"[^,\n]{1,95}")
UUID = re.compile(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

NO_DRIVER = 60
"""A major number for local use, which no driver of Linux has: who opens a node of it is told that
there is no such device, even on a machine with a GPU."""
GPU_NODES = NO_DRIVER
UVM_NODES = NO_DRIVER + 1
CONTROL = "nvidiactl"
CONTROL_NODES = {
    CONTROL: (GPU_NODES, 255),
    "nvidia-uvm": (UVM_NODES, 0),
    "nvidia-uvm-tools": (UVM_NODES, 1),
}


@dataclass(frozen=True)
class MockedGpu:
    """A GPU as NVML is to tell it.

    brand, architecture, addressing_mode: in the words of NVIDIA's driver.
    compute_capability: "major.minor". memory_mib: None for a GPU without memory of its own.
    pci_bus_id: such as "0000:06:00.0". pcie_root: such as "pci0000:00", None for one of its own.
    numa_node: None for none.
    """

    uuid: str
    product: str
    brand: str
    architecture: str
    compute_capability: str
    memory_mib: int | None
    pci_bus_id: str
    addressing_mode: str = "None"
    pcie_root: str | None = None
    numa_node: int | None = None

    def line(self, minor: int) -> str:
        """Its line in the list, as the one with /dev/nvidiaMINOR. Raises ValueError."""
        fields = {
            "uuid": self.uuid,
            "minor": str(minor),
            "product": self.product,
            "brand": self.brand,
            "architecture": self.architecture,
            "compute_capability": self.compute_capability,
            "memory_mib": None if self.memory_mib is None else str(self.memory_mib),
            "pci": self.pci_bus_id,
            "addressing": self.addressing_mode,
        }
        told = {key: value for key, value in fields.items() if value is not None}
        for key, value in told.items():
            if not TEXT.fullmatch(value):
                raise ValueError(f"{key} of a mocked GPU: {value!r} is too long or has a comma")
        if not UUID.fullmatch(self.uuid):
            raise ValueError(f"uuid of a mocked GPU: {self.uuid!r}")
        if not PCI_BUS_ID.fullmatch(self.pci_bus_id):
            raise ValueError(f"pci of a mocked GPU: {self.pci_bus_id!r}")
        return ", ".join(f"{key}={value}" for key, value in told.items())


def lay_out(root: Path, parts: Path, gpus: Sequence[MockedGpu], *, nodes: bool = True) -> bool:
    """Make a root with these GPUs in the place of whatever root of a mocked driver was there.

    parts: the folder of the compiled parts. nodes: False where something else makes its device
    nodes. Returns whether it has them, which only root can make: without them slices are published,
    but no claim can be prepared. Raises SetupError for a folder that holds anything else,
    ValueError for GPUs that cannot be.
    """
    if not 1 <= len(gpus) <= MOST_GPUS:
        raise ValueError(f"{len(gpus)} mocked GPUs; 1 to {MOST_GPUS} can be")
    lines = [gpu.line(minor) for minor, gpu in enumerate(gpus)]
    remove(root)
    libraries, programs = root / "usr" / "lib64", root / "usr" / "bin"
    for folder in (libraries, programs, root / STATE):
        folder.mkdir(parents=True)
    for name in LIBRARIES:
        shutil.copy2(parts / library_file(name), libraries)
        (libraries / f"{name}{SONAME}").symlink_to(library_file(name))
    for name in PROGRAMS:
        shutil.copy2(parts / name, programs)
    (libraries / LIST).write_text("\n".join(("# Mocked GPUs: there is no silicon.", *lines, "")))
    for gpu in gpus:
        _plug_in(root / "sys", gpu)
    return nodes and _make_nodes(root / "dev", len(gpus))


def remove(root: Path) -> None:
    """Remove the root of a mocked driver. Raises SetupError for a folder that holds another."""
    if not root.exists() or not any(root.iterdir()):
        return
    if not (root / STATE).is_dir():
        raise SetupError(f"{root} is there and is no root of a mocked driver; remove it")
    shutil.rmtree(root)


def device_nodes(gpus: int) -> dict[str, tuple[int, int]]:
    """Name → major and minor number of each device node of a root with that many GPUs."""
    return CONTROL_NODES | {f"nvidia{minor}": (GPU_NODES, minor) for minor in range(gpus)}


def report_xid(root: Path, gpu: int, xid: int) -> None:
    """Have a GPU, by its index, report an error to whoever waits for its health events."""
    with (root / STATE / EVENTS).open("a") as events:
        events.write(f"{gpu} {xid}\n")


def _plug_in(sys: Path, gpu: MockedGpu) -> None:
    """Write what the kernel would tell of the GPU's place."""
    domain_and_bus = gpu.pci_bus_id.rpartition(":")[0]
    device = Path("devices") / (gpu.pcie_root or f"pci{domain_and_bus}") / gpu.pci_bus_id
    (sys / device).mkdir(parents=True)
    numa_node = -1 if gpu.numa_node is None else gpu.numa_node
    (sys / device / "numa_node").write_text(f"{numa_node}\n")
    link = sys / "bus" / "pci" / "devices" / gpu.pci_bus_id
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(Path("../../..") / device)


def _make_nodes(dev: Path, gpus: int) -> bool:
    """Make the device nodes, that of CONTROL last: with it the root is whole. Without the right to,
    none; a `dev` without nodes would hide those of the machine, so then it is not there either."""
    dev.mkdir()
    try:
        for name, (major, minor) in reversed(device_nodes(gpus).items()):
            os.mknod(dev / name, stat.S_IFCHR, os.makedev(major, minor))
            (dev / name).chmod(0o666)  # whatever the umask is, as NVIDIA's are
    except PermissionError:
        shutil.rmtree(dev)
        return False
    return True
