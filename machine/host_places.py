"""Where a host node keeps its files on this machine, and which processes are its own.

A machine has one such node: the folders are the machine's, not a checkout's. NVIDIA's chart assumes
the kubelet in `/var/lib/kubelet`; all else lies in two folders of ours.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a plain preview does without it
    import psutil

NODE = "gpu-host"
"""Name of the node, known before there is one."""
STATE = Path("/var/lib/dra-workshop")
"""Survives a reboot: programs, configuration, images, logs, and who owns the node."""
RUNTIME = Path("/run/dra-workshop")
"""Sockets, mounts and what containerd keeps of running containers."""
KUBELET = Path("/var/lib/kubelet")
CDI = Path("/run/cdi")
CDI_FILES = "k8s.gpu.nvidia.com-*"
"""The driver's own specs in CDI: one of its devices, and one for each claim."""
BIN = STATE / "bin"
"""The node's programs run from copies in here, by which its processes are known."""
OWNER = STATE / "owner.json"
FACTS = "node.json"
"""In the folder of the cluster: what the stack exports of the node."""
DAEMONS = ("containerd", "kubelet", "node-proxy")

CGROUP = "dra-workshop"
"""Of all pods; their processes are known by it."""

NETWORK = "dra-workshop"
"""Of all pods; CNI names by it what it notes of each."""
BRIDGE = "dra-node0"
POD_BRIDGE = "dra-pods0"
KUBELET_PORT = 10250


def daemons() -> "list[psutil.Process]":
    """Those of the node's daemons that run."""
    programs = {str(BIN / name) for name in DAEMONS}
    return [process for process in processes() if process.info["cmdline"][0] in programs]


def daemons_run() -> bool:
    """Whether all of them do."""
    return len(daemons()) == len(DAEMONS)


def processes() -> "list[psutil.Process]":
    """The node's daemons and the shims that hold its containers."""
    import psutil

    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] and process.info["cmdline"][0].startswith(f"{BIN}/")
    ]
