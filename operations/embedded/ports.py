"""The ports of an embedded cluster: each process has one, and keeps it for life."""

import socket
import zlib
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil

from machine.cluster_state import processes
from machine.errors import LabError
from operations.common import make_anew

PORTS = range(31999, 20000, -1)
"""Below the ephemeral ports, so that no outgoing connection sits on one after a restart."""
COMPONENTS = (
    *("kube-apiserver", "etcd", "etcd-peer"),
    *("kwok-controller", "kube-controller-manager", "kube-scheduler", "dra-webhook"),
)


def require_ports(stack: str, folder: Path, ports: dict[str, int]) -> None:
    """Raise LabError if something else listens on a port of the cluster, which keeps its ports for
    life: they are in the arguments of its processes."""
    own = {process.pid for process in processes(folder)}
    components = {port: component for component, port in ports.items()}
    for port, pid in listeners():
        if port in components and pid not in own:
            raise LabError(
                f"port {port} of {components[port]} of cluster {stack} is taken by "
                f"{_name(pid)}; end it, or make the cluster anew: {make_anew(stack)}"
            )


def listeners() -> list[tuple[int, int | None]]:
    """Every TCP port that is listened on, and by which process, None for one of another user. Empty
    on macOS, which tells only root."""
    with suppress(psutil.AccessDenied):
        return [
            (connection.laddr.port, connection.pid)
            for connection in psutil.net_connections("tcp")
            if connection.laddr and connection.status == psutil.CONN_LISTEN
        ]
    return []


def _name(pid: int | None) -> str:
    if pid is None:
        return "a program of another user"
    with suppress(psutil.NoSuchProcess):
        return f"{psutil.Process(pid).name()} (process {pid})"
    return f"process {pid}"


def free_ports(folder: Path) -> dict[str, int]:
    """A free loopback port for every component; raises LabError when there are too few. Each
    cluster looks from a place of its own: while one is down, no other takes its ports."""
    place = zlib.crc32(str(folder.resolve()).encode()) % len(PORTS)
    with ExitStack() as held:
        free: list[int] = []
        for port in [*PORTS[place:], *PORTS[:place]]:
            listener = held.enter_context(socket.socket())
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            free.append(port)
            if len(free) == len(COMPONENTS):
                return dict(zip(COMPONENTS, free, strict=True))
    raise LabError(
        f"fewer than {len(COMPONENTS)} ports from {PORTS[-1]} to {PORTS[0]} are "
        "free; end some of the programs that listen there"
    )
