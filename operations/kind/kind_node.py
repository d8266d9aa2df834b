"""Prepares a Kind node so that it has a GPU driver, real or mocked, as NVIDIA's plugin expects it:
by `docker exec`, and again when it was restarted, as /dev and /proc are made anew then."""

import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from machine import docker, kind_gpus
from machine.docker import DockerError
from machine.errors import LabError
from machine.kind_places import MOCKED_DRIVER
from toolchain.errors import SetupError
from toolchain.mocked_driver import build, root

LD_FOLDERS = "/etc/ld.so.conf.d/dra-workshop.conf"
PARAMS = "/proc/driver/nvidia/params"
MASKED = "/run/dra-workshop-nvidia-params"
MOUNTS = "/proc/mounts"


def set_up(node: str, needs: Mapping[str, Any]) -> None:
    """needs: of `node_needs.NodeNeeds`, as data, or its mocked GPUs; {} for a node without any.
    Raises LabError with the node's output, or why nvidia-smi does not run in it."""
    if not needs:
        return
    if mocked := needs.get("mocked"):
        give_mocked_driver(node, [root.MockedGpu(**gpu) for gpu in mocked])
        return
    try:
        docker.run("exec", "--interactive", node, "sh", "-eu", stdin=script(needs))
    except DockerError as error:
        raise LabError(f"node {node} cannot be set up for its GPUs: {error}") from error
    kind_gpus.require_gpus(node, list(needs["gpus"]))


def give_mocked_driver(node: str, gpus: Sequence[root.MockedGpu]) -> None:
    """Have the root of a mocked driver in the node, unless it is there: it changes while the node
    is used, and outlives a restart. Raises LabError if the driver cannot be compiled."""
    made = f"{MOCKED_DRIVER}/dev/{root.CONTROL}"
    try:
        if docker.run("exec", node, "sh", "-c", f"[ -e {made} ] || echo missing"):
            with tempfile.TemporaryDirectory() as folder:
                root.lay_out(Path(folder), build.built(), gpus, nodes=False)
                docker.run("exec", node, "mkdir", "-p", MOCKED_DRIVER)
                docker.run("cp", f"{folder}/.", f"{node}:{MOCKED_DRIVER}")
            docker.run("exec", node, "sh", "-euc", mocked_devices(len(gpus)))
    except SetupError as error:
        raise LabError(str(error)) from error


def mocked_devices(gpus: int) -> str:
    """The shell script that makes the device nodes of mocked GPUs, which this user may not be able
    to make outside of the node; the one by which all are known to be there comes last."""
    lines = [
        f"mknod -m 666 {MOCKED_DRIVER}/dev/{name} c {major} {minor}"
        for name, (major, minor) in reversed(root.device_nodes(gpus).items())
    ]
    return "\n".join([f"mkdir -p {MOCKED_DRIVER}/dev", f"rm -f {MOCKED_DRIVER}/dev/*", *lines])


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
