"""Which life an embedded cluster is in, told from its files and ports without asking its API.

A cluster's processes can end behind Pulumi's back: a reboot, a kill. Its state would still say
that all is well. So the program looks when it starts, and a cluster that lost a process, or all
its files, gets a new life: an input that changes, whose update starts it again.
"""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime
from pathlib import Path

RUN = Path(".run")
FACTS = "cluster.json"
LIFE = "life"
"""File that holds the life in which the cluster was started last."""
SECONDS = 0.5

_new = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def of(stack: str, run: Path = RUN) -> str:
    """The life that the cluster is in, a new one if it is not whole and running."""
    try:
        ports = json.loads((run / stack / FACTS).read_text())["ports"]
        life = (run / stack / LIFE).read_text()
    except (OSError, ValueError, KeyError, TypeError):
        return _new
    return life if all(_answers(port) for port in ports.values()) else _new


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(SECONDS)
        return probe.connect_ex(("127.0.0.1", port)) == 0
