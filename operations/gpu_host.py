"""The GPUs of this machine and where their driver lies, as its CDI spec tells.

NVIDIA's plugin wants the driver under one root, in the places where distributions have it. Where
the driver lies elsewhere such a root is made of two bind mounts.
"""

from __future__ import annotations

import csv
import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from operations.errors import OperationError

CTK = Path(".tools/bin/nvidia-ctk")
SMI = "nvidia-smi"
ML = "libnvidia-ml.so."
USUAL_LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/lib64", "/lib/x86_64-linux-gnu")
"""Where the plugin's prestart script looks under its root (hack/kubelet-plugin-prestart.sh)."""
USUAL_PROGRAMS = "/usr/bin"
SHEBANG = b"#!"
QUERY = ("uuid", "name", "memory.total", "compute_cap", "compute_mode", "driver_version")
ANSWER_SECONDS = 30


@dataclass(frozen=True)
class Driver:
    """programs, libraries: the folders that hold nvidia-smi and libnvidia-ml; version: of the
    kernel driver, as its libraries are named."""

    programs: Path
    libraries: Path
    version: str

    @property
    def usual(self) -> bool:
        """Whether the plugin finds all under "/"."""
        smi = self.programs / SMI
        return (
            str(self.programs) == USUAL_PROGRAMS
            and str(self.libraries) in USUAL_LIBRARIES
            and not smi.is_symlink()
        )


@dataclass(frozen=True)
class Gpu:
    """memory_mib: total in MiB, as NVML reports it; compute_mode: as nvidia-smi calls it."""

    uuid: str
    product: str
    memory_mib: int
    compute_capability: str
    compute_mode: str
    driver_version: str

    def facts(self) -> dict[str, Any]:
        return asdict(self)


def cdi_spec() -> dict[str, Any]:
    """What a container needs of the driver on this machine, told by NVIDIA's toolkit.

    Raises OperationError where there is no driver, with the toolkit's reason.
    """
    try:
        asked = subprocess.run(
            [str(CTK), "--quiet", "cdi", "generate", "--format=json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=ANSWER_SECONDS,
        )
    except FileNotFoundError as error:
        raise OperationError(f"{CTK} is missing; run: make setup-host") from error
    except subprocess.TimeoutExpired as error:
        raise OperationError(f"nvidia-ctk does not answer within {ANSWER_SECONDS} s") from error
    if asked.returncode:
        reason = (asked.stderr.strip().splitlines() or ["without a word"])[-1]
        raise OperationError(f"nvidia-ctk finds no GPU driver: {reason}")
    spec: dict[str, Any] = json.loads(asked.stdout)
    return spec


def find(spec: dict[str, Any]) -> Driver:
    """The driver that a CDI spec describes. Raises OperationError naming what it lacks."""
    mounts = (spec.get("containerEdits") or {}).get("mounts") or []
    paths = [Path(mount["hostPath"]) for mount in mounts]
    smi = next((path for path in paths if path.name == SMI), None)
    library = next((path for path in paths if path.name.startswith(ML)), None)
    if smi is not None and library is not None:
        smi = _program(smi, library)
    for what, path in ((SMI, smi), (f"{ML}*", library)):
        if path is None:
            raise OperationError(
                f"the CDI spec of this machine has no {what}; install the driver's package for "
                "computing (on Debian and Ubuntu: nvidia-utils and libnvidia-compute)"
            )
    assert smi is not None and library is not None  # noqa: S101
    return Driver(smi.parent, library.parent, library.name.removeprefix(ML))


def _program(smi: Path, library: Path) -> Path:
    """nvidia-smi itself: the toolkit takes the first on PATH, which may be a script that calls it.

    In a container, which gets the driver's folders only, such a script finds nothing to call.
    Raises OperationError if there is none beside the driver's libraries either.
    """
    if not _is_script(smi):
        return smi
    above = library.parent.parent
    for path in (above / "bin" / SMI, above.parent / "bin" / SMI):
        if path.exists() and not _is_script(path):
            return path
    raise OperationError(
        f"{smi} is a script, and nvidia-smi itself is not in {above / 'bin'}; put the folder that "
        "holds it first in PATH"
    )


def _is_script(path: Path) -> bool:
    try:
        with path.open("rb") as program:
            return program.read(len(SHEBANG)) == SHEBANG
    except FileNotFoundError:  # the spec is of another machine
        return False


def gpus(driver: Driver) -> list[Gpu]:
    """Every GPU of this machine. Raises OperationError if nvidia-smi does not answer."""
    answer = smi(driver, f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits")
    rows = csv.reader(answer.splitlines(), skipinitialspace=True)
    return [
        Gpu(uuid, name, int(memory), capability, mode, version)
        for uuid, name, memory, capability, mode, version in rows
    ]


def smi(driver: Driver, *arguments: str) -> str:
    """What nvidia-smi prints. Raises OperationError, with what it said, if it fails."""
    program = driver.programs / SMI
    try:
        asked = subprocess.run(
            [str(program), *arguments],
            env={"LD_LIBRARY_PATH": str(driver.libraries), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            capture_output=True,
            text=True,
            check=False,
            timeout=ANSWER_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OperationError(f"{program} does not answer: {error}") from error
    if asked.returncode:
        said = (asked.stdout + asked.stderr).strip().replace("\n", " ")
        raise OperationError(f"{program} {' '.join(arguments)} failed: {said}")
    return asked.stdout
