"""The GPUs of this machine, and where its CDI spec says that their driver lies.

NVIDIA's plugin wants the driver under one root, in the places where distributions have it. A driver
that lies elsewhere gets such a root: two bind mounts on a host node, mounts in the usual places on
a Kind node (machine/kind_node_needs.py).
"""

import copy
import csv
import json
import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from machine import cdi
from machine.errors import LabError
from machine.run import ProgramFailed, ProgramTimedOut, ProgramUnusable, run_program

CTK = Path(".tools/bin/nvidia-ctk")
SMI = "nvidia-smi"
ML = "libnvidia-ml.so."
USUAL_LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/lib64",
    "/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
)
"""Where the plugin's prestart script looks under its root (hack/kubelet-plugin-prestart.sh)."""
USUAL_PROGRAMS = "/usr/bin"
SHEBANG = b"#!"
DEFAULT_MODE = "Default"
"""The compute mode in which any number of processes may use a GPU, as nvidia-smi calls it."""
QUERY = ("uuid", "name", "memory.total", "compute_cap", "compute_mode", "driver_version")
UNKNOWN = re.compile(r"N/A|\[.*\]")
"""What nvidia-smi writes in the place of a value that it does not know: the reason."""
UNSUPPORTED = ("N/A", "[N/A]", "[Not Supported]")
"""Reasons that say only that the GPU has no such thing."""
OPTIONAL = ("memory.total", "compute_mode")
"""A GPU that uses the machine's memory has none of its own; a virtual one has no compute mode."""
INSPECT = "run nvidia-smi -q; after a GPU error, reboot the machine"
INSTALL_LIBRARIES = (
    "install the driver's package for computing (on Debian and Ubuntu: nvidia-utils and "
    "libnvidia-compute)"
)
ANSWER_SECONDS = 30
OLDEST_DRIVER = 565
"""NVIDIA's documents of the DRA driver ask for this version of the GPU driver, or later."""
MESSAGE = re.compile(r'msg="(.*)"')
"""In a line of nvidia-ctk's log."""
NO_LIBRARY = re.compile("ERROR_LIBRARY_NOT_FOUND|failed to locate libnvidia-ml|libcuda.*not found")
"""What nvidia-ctk says where there are no libraries of a driver."""
KERNEL_DRIVER = (Path("/proc/driver/nvidia/version"), Path("/sys/module/nvidia"), Path("/dev/dxg"))
"""Each is there only where a kernel driver is loaded; the last on WSL2."""
TEGRA = re.compile(r"/dev/(nvgpu/|nvhost-\w*-?gpu$)")
"""Device nodes of the GPU in a Tegra chip, whose kernel driver is nvgpu."""
TEGRA_RELEASE = Path("/etc/nv_tegra_release")


class NoDriver(LabError):
    """This machine has no GPU driver at all: neither libraries nor a kernel module."""


class TegraGpu(NoDriver):
    """The GPU's driver is one that NVIDIA's DRA driver cannot use."""

    def __init__(self) -> None:
        super().__init__(
            "this machine's GPU is part of a Tegra chip (Jetson), which NVIDIA's DRA driver does "
            "not support",
            "use a machine with another GPU, or a lab with simulated ones "
            "(cluster=embedded node=simulated)",
        )


class NoToolkit(LabError):
    """NVIDIA's container toolkit, which describes the driver, is not installed."""


@dataclass(frozen=True)
class Driver:
    """programs, libraries: the folders of nvidia-smi and libnvidia-ml; version: of the kernel
    driver, as in the names of its libraries."""

    programs: Path
    libraries: Path
    version: str

    @property
    def usual(self) -> bool:
        """Whether the plugin finds all under "/"."""
        usual = str(self.programs) == USUAL_PROGRAMS and str(self.libraries) in USUAL_LIBRARIES
        return usual and not (self.programs / SMI).is_symlink()


@dataclass(frozen=True)
class Gpu:
    """memory_mib: total, as NVML reports it, None for a GPU that uses the machine's memory;
    compute_mode: as nvidia-smi calls it, "" for a GPU that has none."""

    uuid: str
    product: str
    memory_mib: int | None
    compute_capability: str
    compute_mode: str
    driver_version: str

    @property
    def reserved(self) -> bool:
        """Whether some processes may not use it."""
        return self.compute_mode not in ("", DEFAULT_MODE)

    def facts(self) -> dict[str, Any]:
        return asdict(self)


def toolkit() -> Path | None:
    """nvidia-ctk: set-up's own, else the one on PATH."""
    found = str(CTK) if CTK.exists() else shutil.which(CTK.name)
    return Path(found) if found else None


def cdi_spec() -> dict[str, Any]:
    """What a container needs of the driver on this machine, as NVIDIA's toolkit describes it.

    Raises NoToolkit; NoDriver; any other LabError, with the toolkit's reason, where a driver or
    the toolkit is broken.
    """
    program = toolkit()
    if program is None:
        raise NoToolkit(
            f"{CTK} is missing, and nvidia-ctk is not on PATH",
            "run: make setup-host; or install NVIDIA's container toolkit",
        )
    try:
        command = [str(program), "--quiet", "cdi", "generate", "--format=json"]
        printed = run_program(command, seconds=ANSWER_SECONDS).output
    except ProgramFailed as error:
        last = (error.finished.errors.strip().splitlines() or ["without a word"])[-1]
        message = MESSAGE.search(last)
        raise _explain_failure(message[1] if message else last) from error
    try:
        spec: dict[str, Any] = json.loads(printed)
    except json.JSONDecodeError as error:
        raise LabError(f"{program} prints no JSON, but {printed[:80]!r}") from error
    return spec


def _explain_failure(reason: str) -> LabError:
    """Where a kernel driver is loaded, missing libraries mean a broken driver."""
    if not NO_LIBRARY.search(reason):
        return LabError(
            f"nvidia-ctk cannot describe the GPU driver: {reason}",
            "run nvidia-smi; after a driver update the machine must be started anew",
        )
    if TEGRA_RELEASE.exists():
        return TegraGpu()
    if any(path.exists() for path in KERNEL_DRIVER):
        return LabError(
            f"the kernel driver is loaded, but nvidia-ctk does not find its libraries: {reason}",
            INSTALL_LIBRARIES,
        )
    return NoDriver(
        f"nvidia-ctk finds no GPU driver: {reason}",
        f"install NVIDIA's driver {OLDEST_DRIVER} or later",
    )


def described() -> dict[str, Any]:
    """The spec of this machine, checked: the toolkit's, which is never stale, else an installed
    one. Raises as cdi_spec does, and for a spec that cannot be used."""
    try:
        spec = cdi_spec()
    except NoToolkit:
        installed = cdi.installed()
        if installed is None:
            raise
        return _resolve_scripts(installed[1])
    cdi.validate(spec, "the CDI spec that nvidia-ctk generates")
    return _resolve_scripts(spec)


def find(spec: dict[str, Any]) -> Driver:
    """The driver that a CDI spec describes. Raises LabError naming what it lacks, TegraGpu for that
    of a Jetson."""
    for holder in (spec, *spec.get("devices", ())):
        if any(TEGRA.match(node["path"]) for node in cdi.part(holder, "deviceNodes")):
            raise TegraGpu
    paths = [Path(mount["hostPath"]) for mount in cdi.part(spec, "mounts")]
    smi = next((path for path in paths if path.name == SMI), None)
    library = next((path for path in paths if path.name.startswith(ML)), None)
    if smi is None or library is None:
        missing = SMI if smi is None else f"{ML}*"
        raise LabError(f"the CDI spec of this machine has no {missing}", INSTALL_LIBRARIES)
    programs = _resolve_script(smi, library).parent
    return Driver(programs, library.parent, library.name.removeprefix(ML))


def _resolve_script(found: Path, library: Path) -> Path:
    """The program itself: the toolkit takes the first on PATH, which may be a script that calls it,
    and in a container, which gets the driver's files only, finds nothing to call.

    Raises LabError if the program is not beside the driver's libraries either.
    """
    if not _is_script(found):
        return found
    above = library.parent.parent
    for path in (above / "bin" / found.name, above.parent / "bin" / found.name):
        if path.exists() and not _is_script(path):
            return path
    raise LabError(
        f"{found} is a script, and {found.name} itself is not in {above / 'bin'}",
        "put the folder that holds it first in PATH",
    )


def _resolve_scripts(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec with the driver's programs in the place of scripts that call them, where they are
    found: not every one is needed."""
    changed = copy.deepcopy(spec)
    mounts = cdi.part(changed, "mounts")
    paths = [Path(mount["hostPath"]) for mount in mounts]
    for library in [path for path in paths if path.name.startswith(ML)][:1]:
        for mount, path in zip(mounts, paths, strict=True):
            with suppress(LabError):
                mount["hostPath"] = str(_resolve_script(path, library))
    return changed


def _is_script(path: Path) -> bool:
    try:
        with path.open("rb") as program:
            return program.read(len(SHEBANG)) == SHEBANG
    except OSError:  # a folder, or the spec is of another machine
        return False


def gpus(driver: Driver) -> list[Gpu]:
    """Every GPU of this machine. Raises LabError if nvidia-smi does not answer, or does not know
    what a GPU must have."""
    answer = smi(driver, f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits")
    return [_parse_gpu(row) for row in csv.reader(answer.splitlines(), skipinitialspace=True)]


def _parse_gpu(row: list[str]) -> Gpu:
    if len(row) != len(QUERY):
        raise LabError(f"nvidia-smi says: {', '.join(row)}", INSPECT)
    for name, value in zip(QUERY, row, strict=True):
        if UNKNOWN.fullmatch(value) and not (name in OPTIONAL and value in UNSUPPORTED):
            raise LabError(f"nvidia-smi reports of GPU {row[0]}: {name}: {value}", INSPECT)
    uuid, product, memory, *others = ["" if UNKNOWN.fullmatch(value) else value for value in row]
    return Gpu(uuid, product, int(memory) if memory else None, *others)


def smi(driver: Driver, *arguments: str) -> str:
    """What nvidia-smi prints. Raises LabError, with the reason, if it fails."""
    program = driver.programs / SMI
    env = {"LD_LIBRARY_PATH": str(driver.libraries), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    try:
        return run_program([str(program), *arguments], seconds=ANSWER_SECONDS, env=env).output
    except (ProgramUnusable, ProgramTimedOut) as error:
        raise LabError(f"{program} does not answer: {error}") from error


def reset_compute_mode() -> None:
    """Let all processes use every GPU of this machine again.

    NVIDIA's DRA driver reserves a GPU for its MPS daemon, and leaves it so where its own clearing
    up was cut off. Raises LabError, with the command, where this user may not change it.
    """
    try:
        driver = find(cdi_spec())
    except (NoDriver, NoToolkit):
        return
    for gpu in gpus(driver):
        if gpu.reserved:
            try:
                smi(driver, "-i", gpu.uuid, "-c", "DEFAULT")
            except LabError as error:
                raise LabError(
                    f"GPU {gpu.uuid} is left in compute mode {gpu.compute_mode}: {error}",
                    f"run: sudo nvidia-smi -i {gpu.uuid} -c DEFAULT",
                ) from error
