"""Compiles the parts of the mocked driver, in about a second, into the cache."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
from pathlib import Path

from toolchain import build, cache, processes
from toolchain.errors import SetupError

DRIVER_VERSION = "580.159.04"
"""The driver that it claims to be: NVIDIA's parts find each other by this ending of their names."""
CUDA_VERSION = (13, 0)
"""The CUDA that comes with it."""

SOURCES = Path(__file__).parent
LIBRARIES = {"libnvidia-ml": "nvml.c", "libcuda": "cuda.c"}
PROGRAMS = {
    "nvidia-smi": "nvidia_smi.c",
    "nvidia-cuda-mps-control": "mps_control.c",
    "nvidia-cuda-mps-server": "mps_server.c",
}
SONAME = ".so.1"
"""How a library's name ends for who loads it."""
OPTIONS = (
    *("-std=c11", "-O1", "-Wall", "-Wextra"),
    f'-DDRIVER_VERSION="{DRIVER_VERSION}"',
    f'-DCUDA_MAJOR="{CUDA_VERSION[0]}"',
    f"-DCUDA_VERSION={CUDA_VERSION[0] * 1000 + CUDA_VERSION[1] * 10}",
)
STATIC = ("-D_GNU_SOURCE", "-static")
"""Programs bring all that they need: they run in images and roots that have no libraries."""


def library_file(name: str) -> str:
    return f"{name}.so.{DRIVER_VERSION}"


def digest() -> str:
    """Twelve hex digits over all that decides what is compiled, but for the compiler."""
    content = hashlib.sha256(repr((OPTIONS, STATIC, platform.machine())).encode())
    for path in sorted((*SOURCES.glob("*.[ch]"), Path(__file__))):
        content.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return content.hexdigest()[:12]


def place() -> Path:
    """The folder of the cache that the parts are compiled into."""
    return cache.folder() / f"mocked-driver-{DRIVER_VERSION}-{digest()}"


def built() -> Path:
    """The folder of the cache with all parts, which are compiled if they are not there yet.

    Raises SetupError, with the remedy, if they cannot be.
    """
    folder = place()
    if not folder.is_dir():
        with build.alone():
            if not folder.is_dir():
                source = {"built from": "toolchain/mocked_driver"}
                with cache.filled(folder.name, source) as partial:
                    compile_into(partial)
    return folder


def compile_into(folder: Path, *options: str) -> None:
    """Compile all parts into a folder. Raises SetupError as `built` does.

    options: of the compiler, besides the usual ones.
    """
    compiler = require_compiler()
    for name, source in LIBRARIES.items():
        shared = ("-shared", "-fPIC", f"-Wl,-soname,{name}{SONAME}")
        _compile([*compiler, *OPTIONS, *options, *shared], source, folder / library_file(name))
    for name, source in PROGRAMS.items():
        _compile([*compiler, *OPTIONS, *options, *STATIC], source, folder / name)


def require_compiler() -> list[str]:
    """The C compiler with its options. Raises SetupError, with the remedy, where there is none."""
    compiler = shlex.split(os.environ.get("CC") or "cc")
    if not shutil.which(compiler[0]):
        raise SetupError(
            f"mocked GPUs need a C compiler ({compiler[0]}), which is not on PATH; "
            "Debian and Ubuntu: apt install gcc libc6-dev"
        )
    return compiler


def _compile(command: list[str], source: str, output: Path) -> None:
    done = processes.run([*command, "-o", str(output), str(SOURCES / source)])
    if done.returncode:
        *_, last = ["no reason given", *done.stderr.strip().splitlines()]
        raise SetupError(
            f"{command[0]} cannot compile {SOURCES / source}; does it have the headers and the "
            "static library of C (Debian and Ubuntu: libc6-dev; Fedora: glibc-devel "
            f"glibc-static)?\n  {last}"
        )
