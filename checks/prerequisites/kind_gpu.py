"""Module 0 for `cluster: kind` with NVIDIA's driver: its part on the GPU, the driver, NVIDIA's
container toolkit and the CDI spec, by which the driver gets into a node."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from checks.prerequisites import gpus, kind_toolkit, statements
from checks.prerequisites.statements import output_of, read, refuse
from checks.result import CheckFailed, Checklist, CheckSkipped, require
from machine import cdi, cluster_state, docker, gpu_host, kind_node_needs

PCI = Path("/sys/bus/pci/devices")
NVIDIA, DISPLAY = "0x10de", "0x03"
"""PCI's vendor, and the class of what is a display or 3D controller."""
MODULE = Path("/sys/module/nvidia")
DEVICES = Path("/dev")
SECURE_BOOT = Path(
    "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
)  # UEFI's global variables
MPS_CRASHES = ("580.159.03",)
"""Drivers whose MPS daemon does not start in a pod (NVIDIA's DRA driver, #1143)."""
GPU_SECONDS = 90
TITLES = {
    "gpu-present": "this machine has an NVIDIA GPU",
    "kernel-driver": "the GPU's kernel driver is loaded and has made its device nodes",
    "gpu-subset": "the GPUs that nodes are to get exist",
    "mps-driver": "the driver's MPS daemon is known to start in pods",
    "cdi-spec": "a CDI spec tells what containers need of the driver",
    "cdi-fresh": "the CDI spec that is installed is for the driver that runs",
    "cdi-devices": "the CDI spec has every GPU that nvidia-smi lists",
    "cdi-mounts": "the files that nodes need of the driver exist",
    "driver-place": "NVIDIA's plugin will find the driver in a node",
    "gpu-container": "a container gets the GPUs",
}
REMEDIES = {
    "gpu-present": "use driver=example or cluster=embedded, which need no GPU",
    "kernel-driver": "run: sudo modprobe nvidia && sudo nvidia-modprobe -c 0 -u",
    "gpu-subset": "name GPUs by an index or UUID that nvidia-smi -L lists",
    "mps-driver": "install another driver of that branch, for example 580.159.04",
    "cdi-spec": cdi.GENERATE,
    "cdi-fresh": cdi.GENERATE,
    "cdi-devices": cdi.GENERATE,
    "cdi-mounts": cdi.GENERATE,
    "driver-place": "choose the strategy cdi, which mounts it there",
    "gpu-container": "see what this says: docker run --rm --gpus all IMAGE nvidia-smi",
}


def add(checklist: Checklist, parameters: dict[str, Any], docker_info: dict[str, Any]) -> None:
    verify = partial(statements.verify, checklist, TITLES, REMEDIES)
    strategy = parameters["strategy"]
    verify("gpu-present", _present, "a GPU on the PCI bus, or the driver's device nodes")
    nodes = "module nvidia, /dev/nvidiactl and a /dev/nvidia0"
    verify("kernel-driver", _kernel_driver, nodes, "gpu-present")
    made = cluster_state.is_made(parameters["stack"])
    host = gpus.add(checklist, "kernel-driver", made=made)
    spec = Spec(host, parameters["gpus"], strategy)
    verify("gpu-subset", spec.subset, ", ".join(spec.chosen) or cdi.ALL, "gpus")
    verify("mps-driver", lambda: _mps_driver(host), f"none of {', '.join(MPS_CRASHES)}", "gpus")
    kind_toolkit.add(checklist, strategy, docker_info)
    versions = f"of a version from {cdi.VERSIONS[0]} to {cdi.VERSIONS[-1]}"
    verify("cdi-spec", spec.found, f"one of {cdi.KIND}, {versions}", "kernel-driver")
    verify("cdi-fresh", spec.fresh, "the version of the driver that runs", "gpus")
    verify("cdi-devices", spec.devices, "every one", "cdi-spec", "gpus")
    verify("cdi-mounts", spec.mounts, "every file that the CDI spec names", "cdi-spec")
    places = f"{', '.join(kind_node_needs.LIBRARIES.values())} or {kind_node_needs.ALSO_SEARCHED}"
    verify("driver-place", spec.places, places, "cdi-spec")
    listed = "nvidia-smi in a container lists the GPUs that are asked for"
    toolkit = ("runtime-default", "volume-mounts") if strategy == "toolkit" else ()
    needs = ("docker-runtime", "gpus", "cdi-mounts", *toolkit)
    verify("gpu-container", lambda: _container(spec, parameters["nodeImage"]), listed, *needs)


def _present() -> str:
    if _nodes():
        return ", ".join(_nodes())
    devices = sorted(PCI.iterdir()) if PCI.exists() else []
    found = [device.name for device in devices if _is_gpu(device)]
    if not found and gpu_host.TEGRA_RELEASE.exists():
        raise gpu_host.TegraGpu
    if not PCI.exists():
        raise CheckFailed(f"no device node of a GPU, and there is no {PCI}")
    if not found:
        raise CheckFailed("no NVIDIA GPU on the PCI bus")
    return f"on the PCI bus: {', '.join(found)}"


def _is_gpu(device: Path) -> bool:
    return read(device / "vendor") == NVIDIA and read(device / "class").startswith(DISPLAY)


def _nodes() -> list[str]:
    """WSL2 has one node for all GPUs."""
    found = [path for path in DEVICES.glob("nvidia[0-9]*") if path.name[6:].isdigit()]
    if (DEVICES / "dxg").exists():
        found.append(DEVICES / "dxg")
    return [str(path) for path in sorted(found)]


def _kernel_driver() -> str:
    """A module that is installed and cannot be loaded is what Secure Boot does to one that nobody
    has signed; one that is loaded without nodes lacks udev's or nvidia-modprobe's help."""
    if (DEVICES / "dxg").exists():
        return "WSL2's"
    loaded = MODULE.exists()
    if _nodes() and (DEVICES / "nvidiactl").exists():
        return ", ".join(_nodes()) + ("" if loaded else "; the module is not to be seen")
    if loaded:
        raise CheckFailed("module nvidia is loaded, but there are no device nodes")
    if output_of("modinfo", "--field", "filename", "nvidia") is None:
        raise CheckFailed(
            "no kernel driver of NVIDIA is installed",
            remedy=f"install NVIDIA's driver {gpu_host.OLDEST_DRIVER} or later, then start anew "
            "(Ubuntu: sudo ubuntu-drivers install)",
        )
    if _secure_boot():
        raise CheckFailed(
            "module nvidia is installed but not loaded, and Secure Boot is on",
            remedy="run: sudo mokutil --import /var/lib/shim-signed/mok/MOK.der, start anew and "
            "enrol the key (its path differs by distribution); or install a signed driver "
            "package; or turn Secure Boot off",
        )
    raise CheckFailed("module nvidia is installed but not loaded")


def _secure_boot() -> bool:
    """The variable's last byte is its value; four bytes of attributes are before it."""
    try:
        return SECURE_BOOT.read_bytes()[-1:] == b"\x01"
    except OSError:
        return False


def _mps_driver(host: gpus.Host) -> str:
    assert host.driver is not None  # noqa: S101
    version = host.driver.version
    return require(version not in MPS_CRASHES, version, warning=True)


@dataclass
class Spec:
    """The CDI spec of this machine, and what a node needs by it; filled as statements ask."""

    host: gpus.Host
    chosen: list[str]
    strategy: str
    spec: dict[str, Any] = field(default_factory=dict)
    needs: kind_node_needs.NodeNeeds = field(init=False)

    def found(self) -> str:
        self.spec = gpu_host.described()
        version = cdi.driver_version(self.spec) or "of an unknown version"
        return f"driver {version}, devices {', '.join(cdi.device_names(self.spec)) or cdi.ALL}"

    def fresh(self) -> str:
        """What lies in a file is as old as its last writing."""
        installed = cdi.installed()
        if installed is None:
            raise CheckSkipped("no file in /etc/cdi or /var/run/cdi; nvidia-ctk tells when asked")
        path, spec = installed
        assert self.host.driver is not None  # noqa: S101
        found = cdi.driver_version(spec)
        if found != self.host.driver.version:
            unused = gpu_host.toolkit() is not None
            raise CheckFailed(f"{path} is for driver {found or 'unknown'}", warning=unused)
        return f"{path}: {found}"

    def devices(self) -> str:
        names = set(cdi.device_names(self.spec))
        if not names:
            raise CheckSkipped("it names all GPUs as one")
        for index, gpu in enumerate(self.host.gpus):
            require(
                bool(names & {str(index), gpu.uuid}), f"GPU {index} ({gpu.uuid}) is not in the spec"
            )
        return f"all of {len(self.host.gpus)}"

    def subset(self) -> str:
        known = {gpu.uuid for gpu in self.host.gpus}
        known |= {str(index) for index in range(len(self.host.gpus))}
        if unknown := [name for name in self.chosen if name not in known | {cdi.ALL}]:
            raise CheckFailed(f"{', '.join(unknown)}; there are {', '.join(sorted(known))}")
        return ", ".join(self.chosen) or cdi.ALL

    def mounts(self) -> str:
        needs = kind_node_needs.for_node(self.spec, self.chosen, self.strategy)
        self.needs = kind_node_needs.settled(needs)
        notes = "".join(f"; {note}" for note in self.needs.notes)
        return f"{len(self.needs.mounts)} mounts, {len(self.needs.devices)} device nodes{notes}"

    def places(self) -> str:
        if self.strategy != "toolkit":
            raise CheckSkipped("the strategy cdi puts the driver where the plugin looks")
        return refuse(kind_node_needs.unsearched(self.spec), "", "in the usual places")


def _container(spec: Spec, image: str) -> str:
    """Made as a node is, with the image of the nodes, and removed."""
    if not image:
        raise CheckSkipped("no image with a shell is known: nodeImage is empty")
    try:
        docker.run("image", "inspect", image)
    except docker.DockerError as error:
        raise CheckSkipped(f"image {image} is not on this machine yet") from error
    mounts = [
        f"--mount=type=bind,source={mount.host},target={mount.container}"
        + (",readonly" if mount.read_only else "")
        for mount in spec.needs.mounts
    ]
    name = f"dra-workshop-probe-{os.getpid()}"
    # Without the host's user namespace a daemon that remaps users refuses privileged containers.
    rights = ["--privileged", "--userns=host", "--network=none"]
    arguments = ["--rm", f"--name={name}", *rights, *mounts, "--entrypoint=/bin/sh"]
    command = [image, "-c", "ldconfig && nvidia-smi -L"]
    try:
        output = docker.run("run", *arguments, *command, seconds=GPU_SECONDS)
    except docker.TimedOut:
        with suppress(docker.DockerError):
            docker.run("rm", "--force", name)
        raise
    listed = re.findall(r"GPU-[0-9a-f-]+", output)
    wanted = [
        gpu.uuid
        for index, gpu in enumerate(spec.host.gpus)
        if not spec.chosen or {gpu.uuid, str(index), cdi.ALL} & set(spec.chosen)
    ]
    if missing := [uuid for uuid in wanted if uuid not in listed]:
        raise CheckFailed(f"it lists {', '.join(listed) or 'none'}, not {', '.join(missing)}")
    return ", ".join(listed)
