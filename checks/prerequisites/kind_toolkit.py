"""NVIDIA's container toolkit as module 0 sees it: it puts the driver into nodes."""

from __future__ import annotations

import re
import shutil
import tomllib
from typing import Any, Protocol

import semver

from checks.result import CheckFailed, Checklist, CheckSkipped
from machine import gpu_host
from machine.kind_gpus import RUNTIME, RUNTIME_CONFIG, VOLUME_MOUNTS
from machine.run import ProgramError, run_program

OLDEST_TOOLKIT = semver.Version(1, 14, 0)
"""The first that the workshop's documents ask for."""
RESTART = "sudo systemctl restart docker"
SET_DEFAULT = (
    "run: sudo nvidia-ctk runtime configure --runtime=docker --set-as-default --cdi.enabled && "
    f"{RESTART}"
)
SET_VOLUME_MOUNTS = (
    f"run: sudo nvidia-ctk config --set {VOLUME_MOUNTS}=true --in-place && {RESTART}"
)
INSTALL_TOOLKIT = (
    "install NVIDIA's container toolkit: https://docs.nvidia.com/datacenter/cloud-native/"
    "container-toolkit/latest/install-guide.html"
)
OTHER_STRATEGY = "the strategy cdi mounts the driver without NVIDIA's runtime"


class Daemon(Protocol):
    info: dict[str, Any]


def add(checklist: Checklist, strategy: str, daemon: Daemon) -> None:
    verify = checklist.verify
    verify(
        "toolkit",
        "NVIDIA's container toolkit is there",
        lambda: _toolkit(strategy),
        f"version {OLDEST_TOOLKIT} or later",
        INSTALL_TOOLKIT,
        needs=("gpu-present",),
    )
    verify(
        "runtime-default",
        "NVIDIA's runtime is Docker's default",
        lambda: _runtime(strategy, daemon),
        RUNTIME,
        SET_DEFAULT,
        needs=("docker-daemon", "toolkit"),
    )
    verify(
        "volume-mounts",
        "NVIDIA's runtime takes a mount for the wish for a GPU",
        lambda: _volume_mounts(strategy),
        f"{VOLUME_MOUNTS} = true in {RUNTIME_CONFIG}",
        SET_VOLUME_MOUNTS,
        needs=("toolkit",),
    )


def _toolkit(strategy: str) -> str:
    """Docker calls the one that is installed; to read the spec, set-up's own will do."""
    installed = shutil.which(gpu_host.CTK.name)
    program = installed if strategy == "toolkit" else gpu_host.toolkit()
    if program is None:
        raise CheckFailed(f"{gpu_host.CTK.name} is not on PATH")
    try:
        asked = run_program(
            [str(program), "--version"], seconds=gpu_host.ANSWER_SECONDS, check=False
        )
    except ProgramError as error:
        raise CheckFailed(f"{program} does not answer: {error}") from error
    found = re.search(r"\d+\.\d+\.\d+", asked.output)
    if asked.code or not found:
        raise CheckFailed(f"{program} --version ended with {asked.code}")
    if semver.Version.parse(found[0]) < OLDEST_TOOLKIT:
        raise CheckFailed(found[0])
    return f"{found[0]}, {program}"


def _runtime(strategy: str, daemon: Daemon) -> str:
    if strategy != "toolkit":
        raise CheckSkipped(OTHER_STRATEGY)
    found = str(daemon.info.get("DefaultRuntime"))
    if found != RUNTIME:
        known = RUNTIME in (daemon.info.get("Runtimes") or {})
        raise CheckFailed(f"{found}; {RUNTIME} is {'known' if known else 'not known'} to Docker")
    return found


def _volume_mounts(strategy: str) -> str:
    if strategy != "toolkit":
        raise CheckSkipped(OTHER_STRATEGY)
    try:
        config = tomllib.loads(RUNTIME_CONFIG.read_text())
    except FileNotFoundError as error:
        raise CheckFailed(f"there is no {RUNTIME_CONFIG}") from error
    except OSError as error:
        raise CheckSkipped(f"{RUNTIME_CONFIG} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CheckFailed(
            f"{RUNTIME_CONFIG} is no TOML: {error}",
            remedy=f"correct it, or move it away and {SET_VOLUME_MOUNTS}",
        ) from error
    if config.get(VOLUME_MOUNTS) is not True:
        raise CheckFailed(f"{config.get(VOLUME_MOUNTS, 'not set')}".lower())
    return "true"
