"""Prepares a Kind node so that it has the GPU driver as NVIDIA's plugin expects it: by `docker
exec`, and again when it was restarted, as /dev and /proc are made anew then."""

import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from machine import docker, kind_gpus
from machine.docker import DockerError
from machine.errors import LabError

LD_FOLDERS = "/etc/ld.so.conf.d/dra-workshop.conf"
PARAMS = "/proc/driver/nvidia/params"
MASKED = "/run/dra-workshop-nvidia-params"
MOUNTS = "/proc/mounts"


def set_up(node: str, needs: Mapping[str, Any]) -> None:
    """needs: of `node_needs.NodeNeeds`, as data; {} for a node without GPUs. Raises LabError with
    the node's output, or why nvidia-smi does not run in it."""
    if not needs:
        return
    try:
        docker.run("exec", "--interactive", node, "sh", "-eu", stdin=script(needs))
    except DockerError as error:
        raise LabError(f"node {node} cannot be set up for its GPUs: {error}") from error
    kind_gpus.require_gpus(node, list(needs["gpus"]))


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
