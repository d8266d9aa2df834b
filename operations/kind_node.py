"""What is done inside a Kind node so that it has the GPU driver as NVIDIA's plugin expects it.

A node is a container: all is done by `docker exec`, and again when it was restarted, as /dev and
/proc are made anew then.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from operations import docker
from operations.docker import DockerError
from operations.errors import OperationError

LD_FOLDERS = "/etc/ld.so.conf.d/dra-workshop.conf"
PARAMS = "/proc/driver/nvidia/params"
MASKED = "/run/dra-workshop-nvidia-params"
MOUNTS = "/proc/mounts"


def set_up(node: str, needs: Mapping[str, Any]) -> None:
    """needs: of `node_needs.NodeNeeds`, as data; {} for a node without GPUs.

    Raises OperationError with what the node said, or why nvidia-smi does not run in it.
    """
    if not needs:
        return
    try:
        docker.run("exec", "--interactive", node, "sh", "-eu", stdin=script(needs))
    except DockerError as error:
        raise OperationError(f"node {node} cannot be set up for its GPUs: {error}") from error
    require_gpus(node, list(needs["gpus"]))


def script(needs: Mapping[str, Any]) -> str:
    """The shell script that does it; harmless where it is done."""
    quote = shlex.quote
    lines = []
    for link in needs["links"]:
        path, target = quote(link["path"]), quote(link["target"])
        folder = quote(str(PurePosixPath(link["path"]).parent))
        # One whose target is missing counts as not there: it is replaced.
        lines += [f"mkdir -p {folder}", f"[ -e {path} ] || ln -sfn {target} {path}"]
    lines += [f"chmod {quote(mode['mode'])} {quote(mode['path'])}" for mode in needs["modes"]]
    if needs["mask_params"]:
        # Where it is mounted already, both are one file, which must not be emptied to be read.
        lines += [
            f"grep -q {PARAMS} {MOUNTS} || {{",
            f"  sed 's/^ModifyDeviceFiles:.*/ModifyDeviceFiles: 0/' {PARAMS} > {MASKED}",
            f"  mount --bind {MASKED} {PARAMS}",
            "}",
        ]
    lines += [f"rm -f {quote(path)}" for path in needs["hidden"]]
    if needs["folders"]:
        folders = " ".join(quote(folder) for folder in needs["folders"])
        lines += [f"printf '%s\\n' {folders} > {LD_FOLDERS}", "ldconfig"]
    return "\n".join([*lines, ""])


def require_gpus(node: str, uuids: list[str]) -> str:
    """What nvidia-smi says in the node. Raises OperationError unless it sees exactly these GPUs."""
    try:
        said = docker.run("exec", node, "nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader")
    except DockerError as error:
        raise OperationError(
            f"nvidia-smi does not run in node {node}: {error}",
            "set gpuMounts to the other of toolkit and cdi",
        ) from error
    if sorted(said.split()) != sorted(uuids):
        raise OperationError(f"node {node} sees the GPUs {said.split()}, not {uuids}")
    return ", ".join(sorted(uuids))
