"""Which life an embedded cluster is in, told from its files and processes without asking its API.

A cluster's processes can end behind Pulumi's back: a reboot, a kill. Its state would still say
that all is well. So the program looks when it starts, and a cluster that lost a process, or some
of its files, gets a new life: an input that changes, whose update starts it again. So does one
after an update that was killed, as nobody knows how far that came.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import psutil

from components.cluster import host_places

RUN = Path(".run")
STAGES = Path("manifests/simulation")
"""How kwok runs simulated nodes and their pods; it is told when the cluster is made."""
FACTS = "cluster.json"
KUBECONFIG = "kubeconfig"
REMOVING = "removing"
"""File that says that the removal of the lab has begun. Objects on the cluster are forgotten one by
one from then on, and never taken up again."""
LIFE = "life"
"""File that holds the life in which the cluster was started last."""

_new = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def of(stack: str, run: Path = RUN) -> str:
    """The life that the cluster is in, a new one if it is not whole and running."""
    folder = run / stack
    try:
        expected = json.loads((folder / FACTS).read_text())["processes"]
        life = (folder / LIFE).read_text()
    except (OSError, ValueError, KeyError, TypeError):
        return _new
    whole = (folder / KUBECONFIG).exists() and not is_being_removed(stack, run)
    node_runs = not (folder / host_places.FACTS).exists() or host_places.daemons_run()
    running = len(processes(folder)) >= expected and node_runs
    return life if whole and running else _new


def is_being_removed(stack: str, run: Path = RUN) -> bool:
    return (run / stack / REMOVING).exists()


def begin_removal(stack: str, run: Path = RUN) -> None:
    """Nothing to note where there is no cluster."""
    if (run / stack).exists():
        (run / stack / REMOVING).touch()


def end(stack: str, run: Path = RUN) -> None:
    """Let the next update begin a new life, in which everything is verified again."""
    (run / stack / LIFE).unlink(missing_ok=True)


def processes(folder: Path) -> list[psutil.Process]:
    """The processes whose program lies in the cluster's folder."""
    mark = f"{folder.resolve()}{os.sep}"
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"]
        if command and command[0].startswith(mark):
            found.append(process)
    return found
