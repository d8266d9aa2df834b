"""What another user of this machine finds out: becomes that user.

Told as JSON on stdin: folders to read in, addresses to ask. Prints what it got: files and answers.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401, what sockets import when they are used first
import json
import os
import socket
import ssl
import subprocess
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

import psutil

NOBODY = 65534
PATHS = (
    "/", "/api", "/api/v1/secrets", "/version", "/health", "/v2/keys", "/v3/kv/range",
    "/v2/members", "/members", "/raft", "/metrics", "/debug/pprof/", "/debug/pprof/cmdline",
    "/configz", "/flagz", "/statusz", "/exec/default/pod/one", "/attach/default/pod/one",
    "/run/default/pod/one", "/portForward/default/pod", "/containerLogs/default/pod/one",
    "/runningpods/", "/pods", "/logs/",
)  # fmt: skip
SECONDS = 3
OK = 200


def found(folders: list[Path], addresses: list[tuple[str, int]]) -> list[str]:
    """What a stranger gets to see. Root only, as only root may become somebody else."""
    given = {"folders": [str(folder.absolute()) for folder in folders], "addresses": addresses}
    done = subprocess.run(
        [sys.executable, "-I", "-c", Path(__file__).read_text()], input=json.dumps(given),
        cwd="/", text=True, capture_output=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen: list[str] = json.loads(done.stdout)
    return seen


def readable(folder: str) -> list[str]:
    """Paths below the folder that can be read, and folders that can be listed."""
    seen = [f"lists {path}" for path, _, _ in os.walk(folder)]
    for path, _, names in os.walk(folder):
        seen += [f"reads {path}/{name}" for name in names if os.access(f"{path}/{name}", os.R_OK)]
    return seen


def listening(processes: list[psutil.Process]) -> list[tuple[str, int]]:
    """Every address at which one of the processes listens."""
    return sorted(
        (connection.laddr.ip, connection.laddr.port)
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    )


def answers(host: str, port: int) -> list[str]:
    """What the port gives to one who shows no certificate, but for that it is well."""
    return [f"{port}{path}: {got}" for path in PATHS if (got := _ask(host, port, path))]


def _ask(host: str, port: int, path: str) -> str:
    """The beginning of a good answer, over TLS or without it, "" if there is none."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    for connection in (
        HTTPSConnection(host, port, timeout=SECONDS, context=trusting),
        HTTPConnection(host, port, timeout=SECONDS),
    ):
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            if answer.status == OK:
                return answer.read(80).decode(errors="replace")
        except (OSError, HTTPException):
            continue
        finally:
            connection.close()
    return ""


def speaks_http2(host: str, port: int) -> bool:
    """Whether the port takes up HTTP/2 without TLS, as etcd's own protocol does."""
    with socket.create_connection((host, port), timeout=SECONDS) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        try:
            return client.recv(9)[3:4] == b"\x04"  # its settings
        except OSError:
            return False


def become_nobody() -> None:
    """Not before all is imported: Python itself may lie where only root can read."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def main(given: dict[str, Any]) -> list[str]:
    become_nobody()
    seen = [line for folder in given["folders"] for line in readable(folder)]
    for host, port in given["addresses"]:
        seen += answers(host, port)
        seen += [f"{port}: speaks HTTP/2 to strangers"] if speaks_http2(host, port) else []
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.load(sys.stdin))))
