"""The locked Python packages as wheels for the Python of another machine."""

from __future__ import annotations

import re
import sys
import time
import zipfile
from pathlib import Path

from packaging.requirements import Requirement

from toolchain import processes
from toolchain.errors import SetupError
from toolchain.progress import say

GLIBC = (2, 28)
"""What the wheels may ask for: that of RHEL 8 and Debian 10."""
PIP_LOCK = Path(__file__).resolve().parent.parent / "pip.lock"
UNREACHABLE = ("Retrying (", "ProxyError", "ConnectionError", "Temporary failure")
SHOWN = 5


def fetch(lock: Path, python: str, machine: str, folder: Path) -> None:
    """Fill the folder with a wheel of every package of `lock` and with pip's, checked by its hash.

    python: minor version, as "3.12"; machine: as "x86_64". The wheels are stored anew without
    their own compression: packed together, and with the tools, they take half the room.
    Raises SetupError, naming the first package that has no wheel for that Python.
    """
    started = time.monotonic()
    say(f"fetching wheels for Python {python}")
    packed = folder / "packed"
    packed.mkdir(parents=True)
    requirements = packed / "requirements.txt"
    requirements.write_text("".join(selected(path, python, machine) for path in (lock, PIP_LOCK)))
    download(requirements, python, machine, packed)
    wheels = sorted(packed.glob("*.whl"))
    for wheel in wheels:
        store(wheel, folder / wheel.name)
        wheel.unlink()
    requirements.unlink()
    packed.rmdir()
    say(f"{len(wheels)} wheels for Python {python} ({time.monotonic() - started:.0f} s)")


def selected(lock: Path, python: str, machine: str) -> str:
    """A lock file's packages for that Python on Linux, without their markers.

    pip would hold the markers against the Python that runs it, not against the one asked for.
    """
    target = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
    lines = []
    for package in re.split(r"\n(?=\w)", lock.read_text()):
        head, *hashes = package.split("\\\n")
        requirement = Requirement(head)
        if requirement.marker is None or requirement.marker.evaluate(target):
            pinned = [head.partition(";")[0].rstrip() + " ", *hashes]
            lines.append("\\\n".join(pinned).rstrip() + "\n")
    return "".join(lines)


def download(requirements: Path, python: str, machine: str, folder: Path) -> None:
    platforms = [f"manylinux_{GLIBC[0]}_{minor}_{machine}" for minor in range(GLIBC[1], 4, -1)]
    platforms += [f"manylinux{name}_{machine}" for name in ("2014", "2010", "1")]
    done = processes.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--only-binary=:all:", "--no-deps", "--require-hashes", "--implementation", "cp"),
            *("--python-version", python, "--requirement", str(requirements)),
            *(argument for name in platforms for argument in ("--platform", name)),
            *("--dest", str(folder)),
        ]
    )
    if done.returncode:
        raise failure(done.stderr, python, machine)


def failure(text: str, python: str, machine: str) -> SetupError:
    """What pip says, in words for the person who asked for a bundle."""
    if any(mark in text for mark in UNREACHABLE):
        return SetupError("the package registry cannot be reached; check the network")
    if found := re.search(r"No matching distribution found for (\S+)", text):
        return SetupError(
            f"{found[1]} has no wheel for Python {python} on Linux {machine}; "
            "choose another PYTHON_VERSION, such as 3.12"
        )
    end = "\n  ".join(text.splitlines()[-SHOWN:])
    return SetupError(f"the wheels for Python {python} cannot be downloaded; pip says:\n  {end}")


def store(wheel: Path, target: Path) -> None:
    """The same wheel, its files uncompressed."""
    with zipfile.ZipFile(wheel) as packed, zipfile.ZipFile(target, "w") as stored:
        for entry in packed.infolist():
            plain = zipfile.ZipInfo(entry.filename, entry.date_time)
            plain.external_attr = entry.external_attr
            stored.writestr(plain, packed.read(entry))


def unpacked(folder: Path) -> int:
    """Bytes that the wheels' files take."""
    return sum(
        entry.file_size
        for wheel in folder.glob("*.whl")
        for entry in zipfile.ZipFile(wheel).infolist()
    )
