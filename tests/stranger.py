"""What another user of this machine finds out: run as that user, with nothing but Python's own.

Told as JSON on stdin: folders to read in, ports to ask. Prints what it got: files and answers.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

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


def found(folders: list[Path], ports: list[int]) -> list[str]:
    """What a stranger gets to see. Root only, as only root may become somebody else."""
    given = {"folders": [str(folder.absolute()) for folder in folders], "ports": ports}
    done = subprocess.run(
        [sys.executable, "-I", "-c", Path(__file__).read_text()], input=json.dumps(given),
        cwd="/", user=NOBODY, group=NOBODY, extra_groups=[],
        text=True, capture_output=True, check=False, timeout=300,
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


def answers(port: int) -> list[str]:
    """What the port gives to one who shows no certificate, but for that it is well."""
    return [f"{port}{path}: {got}" for path in PATHS if (got := _ask(port, path))]


def _ask(port: int, path: str) -> str:
    """The beginning of a good answer, over TLS or without it, "" if there is none."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    for connection in (
        HTTPSConnection("127.0.0.1", port, timeout=SECONDS, context=trusting),
        HTTPConnection("127.0.0.1", port, timeout=SECONDS),
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


def grpc_speaks(port: int) -> bool:
    """Whether the port takes up HTTP/2 without TLS, as etcd's own protocol does."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        try:
            return client.recv(9)[3:4] == b"\x04"  # its settings
        except OSError:
            return False


def main(given: dict[str, Any]) -> list[str]:
    seen = [line for folder in given["folders"] for line in readable(folder)]
    for port in given["ports"]:
        seen += answers(port)
        seen += [f"{port}: speaks HTTP/2 to strangers"] if grpc_speaks(port) else []
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.load(sys.stdin))))
