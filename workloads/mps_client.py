"""Whether this process is a client of MPS, and how that is known.

CUDA is silent if it cannot reach the control daemon: the program then works, with the whole GPU.
So neither the variables nor the mounted directory prove anything. Two things do, without any
privilege: the driver itself says whether contexts on this device are shared through MPS, and as a
client CUDA opens Unix sockets while it makes its context, otherwise none.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

ATTRIBUTE = "CU_DEVICE_ATTRIBUTE_MPS_ENABLED"
PIPE_DIRECTORY = "CUDA_MPS_PIPE_DIRECTORY"
DEFAULT_PIPE_DIRECTORY = "/tmp/nvidia-mps"  # noqa: S108
OTHER_VARIABLES = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
OPEN_FILES = Path("/proc/self/fd")


def describe(
    mps_enabled: bool | None, connections: list[dict[str, Any]], environment: Mapping[str, str]
) -> dict[str, Any]:
    """mps_enabled: what the driver says, None if it does not know.
    connections: those that CUDA opened."""
    number = len(connections)
    opened = f"CUDA opened {number or 'no'} Unix socket{'' if number == 1 else 's'}"
    if mps_enabled is None:
        proof = f"{opened}; this driver does not know {ATTRIBUTE}"
    else:
        proof = f"{ATTRIBUTE} is {int(mps_enabled)}; {opened}"
    return {
        "client": number > 0 if mps_enabled is None else mps_enabled,
        "proof": proof,
        "driver_says": mps_enabled,
        "connections": connections,
        **surroundings(environment),
    }


def surroundings(environment: Mapping[str, str]) -> dict[str, Any]:
    """What the claim brought, whether or not CUDA made use of it. pipes: what lies in the pipe
    directory, pipes_refused: why that cannot be read, "" where it can; user: of this process;
    shared_memory: the device of /dev/shm, which the clients of a daemon share."""
    folder = environment.get(PIPE_DIRECTORY, DEFAULT_PIPE_DIRECTORY)
    try:
        pipes, refused = sorted(path.name for path in Path(folder).iterdir()), ""
    except OSError as error:
        pipes, refused = [], os.strerror(error.errno or 0)
    return {
        "pipe_directory": folder,
        "pipe_directory_set": PIPE_DIRECTORY in environment,
        "pipes": pipes,
        "pipes_refused": refused,
        "user": os.geteuid(),
        "shared_memory": SHARED_MEMORY.stat().st_dev if SHARED_MEMORY.is_dir() else None,
    }


def opened_since(before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [connection for connection in connections() if connection not in before]


def connections() -> list[dict[str, Any]]:
    """The Unix sockets of this process that are connected: their number, the other end's name and
    its process where this one may see it."""
    found = []
    for entry in sorted(OPEN_FILES.iterdir()):
        with suppress(OSError):  # closed in between, or not connected
            number = entry.readlink().name
            if number.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(entry.name))) as copy:
                    if copy.family == socket.AF_UNIX:
                        found.append(read_peer(copy) | {"socket": number})
    return found


def read_peer(end: socket.socket) -> dict[str, Any]:
    peer = os.fsdecode(end.getpeername()).replace("\0", "@", 1)
    owner = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return {"peer": peer, "peer_pid": struct.unpack("3i", owner)[0] or None}


def select_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Those that concern MPS or which GPUs are seen."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if name.startswith("CUDA_MPS_") or name in OTHER_VARIABLES
    }
