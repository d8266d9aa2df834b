"""NVIDIA's container toolkit as module 0 sees it: it puts the driver into nodes."""

import shutil
import tomllib
from functools import partial
from typing import Any

import semver

from checks.prerequisites import statements
from checks.result import CheckFailed, Checklist, CheckSkipped
from machine import gpu_host
from machine.kind_gpus import RUNTIME, RUNTIME_CONFIG, VOLUME_MOUNTS
from machine.run import ProgramError

OLDEST_TOOLKIT = semver.Version(1, 14, 0)
"""The first that the workshop's documents ask for."""
RESTART = "sudo systemctl restart docker"
SET_VOLUME_MOUNTS = (
    f"run: sudo nvidia-ctk config --set {VOLUME_MOUNTS}=true --in-place && {RESTART}"
)
INSTALL_TOOLKIT = (
    "install NVIDIA's container toolkit: https://docs.nvidia.com/datacenter/cloud-native/"
    "container-toolkit/latest/install-guide.html"
)
OTHER_STRATEGY = "the strategy cdi mounts the driver without NVIDIA's runtime"
TITLES = {
    "toolkit": "NVIDIA's container toolkit is installed",
    "runtime-default": "NVIDIA's runtime is Docker's default",
    "volume-mounts": "NVIDIA's runtime takes a mount as a request for a GPU",
}
REMEDIES = {
    "toolkit": INSTALL_TOOLKIT,
    "runtime-default": "run: sudo nvidia-ctk runtime configure --runtime=docker --set-as-default "
    f"--cdi.enabled && {RESTART}",
    "volume-mounts": SET_VOLUME_MOUNTS,
}


def add(checklist: Checklist, strategy: str, docker_info: dict[str, Any]) -> None:
    verify = partial(statements.verify, checklist, TITLES, REMEDIES)
    oldest = f"version {OLDEST_TOOLKIT} or later"
    verify("toolkit", lambda: _toolkit(strategy), oldest, "gpu-present")
    default = partial(_runtime, strategy, docker_info)
    verify("runtime-default", default, RUNTIME, "docker-daemon", "toolkit")
    switched = f"{VOLUME_MOUNTS} = true in {RUNTIME_CONFIG}"
    verify("volume-mounts", lambda: _volume_mounts(strategy), switched, "toolkit")


def _toolkit(strategy: str) -> str:
    """Docker calls the one that is installed; to read the spec, set-up's own will do."""
    installed = shutil.which(gpu_host.CTK.name)
    program = installed if strategy == "toolkit" else gpu_host.toolkit()
    if program is None:
        raise CheckFailed(f"{gpu_host.CTK.name} is not on PATH")
    try:
        found = statements.read_version(program)
    except ProgramError as error:
        raise CheckFailed(f"{program} does not answer: {error}") from error
    if found < OLDEST_TOOLKIT:
        raise CheckFailed(str(found))
    return f"{found}, {program}"


def _runtime(strategy: str, docker_info: dict[str, Any]) -> str:
    if strategy != "toolkit":
        raise CheckSkipped(OTHER_STRATEGY)
    found = str(docker_info.get("DefaultRuntime"))
    if found != RUNTIME:
        known = RUNTIME in (docker_info.get("Runtimes") or {})
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
