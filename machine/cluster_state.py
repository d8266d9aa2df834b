"""Whether a cluster runs as it was started: by its files, ports and containers, not by its API.

What a cluster runs in can end behind Pulumi's back: a reboot, a kill. Its state would still say
that all is well. So the program looks when it starts, and a cluster that lost a process, or some
of its files, gets a new start id: an input that changes, whose update restarts it. So does one
after an update that was killed, as nobody knows how far that came.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import host_places, identity, kind_places

if TYPE_CHECKING:  # a plain preview does without it
    import psutil

RUN = Path(".run")
PRIVATE = 0o700
"""Mode of folders that hold keys, and so are for their owner only."""
STAGES = Path("manifests/simulation")
"""How kwok runs simulated nodes and their pods; it is told when the cluster is made."""
MAKER = "kwokctl"
RECIPE = 2
"""How an embedded cluster is made. A new number takes the place of clusters that were made in a way
that is not to be kept: those of 1 let every user of the machine write into etcd."""
FACTS = "cluster.json"
KUBECONFIG = "kubeconfig"
REMOVING = "removing"
"""File that says that the removal of the lab has begun. Objects on the cluster are forgotten one by
one from then on, and never taken up again."""
START_ID = "start_id"
"""File that holds the id of the cluster's last start."""
ANSWER_SECONDS = 2
STARTED = "started.json"
"""File that holds when each container was started; one that was started again by somebody else has
lost its mounts in memory, CDI specs among them."""

_new = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def of(stack: str, run: Path = RUN) -> str:
    """The id of the cluster's start, a new one if it is not whole and running."""
    folder = run / stack
    try:
        start_id = (folder / START_ID).read_text()
    except OSError:
        return _new
    whole = (folder / KUBECONFIG).exists() and not is_being_removed(stack, run)
    return start_id if whole and runs(stack, run) else _new


def runs(stack: str, run: Path = RUN) -> bool:
    """Whether all processes, or containers, of the cluster run as they were started."""
    folder = run / stack
    try:
        facts = json.loads((folder / FACTS).read_text())
        return RUNNING[facts["kind"]](folder, facts)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _processes_run(folder: Path, facts: dict[str, Any]) -> bool:
    if was_moved(folder, facts):
        return False
    node_runs = not (folder / host_places.FACTS).exists() or host_places.daemons_run()
    return node_runs and all(listens(port) for port in facts["ports"].values())


def listens(port: int) -> bool:
    """Whether something does on loopback: each process of a cluster has a port of its own."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS):
            return True
    except OSError:
        return False


def _containers_run(folder: Path, facts: dict[str, Any]) -> bool:
    noted = json.loads((folder / STARTED).read_text())
    return bool(noted == kind_places.started(facts["nodes"]))


RUNNING: dict[str, Callable[[Path, dict[str, Any]], bool]] = {
    "embedded": _processes_run,
    "kind": _containers_run,
    "existing": lambda _folder, _facts: True,  # others see to it
}


def kind_of(stack: str, run: Path = RUN) -> str:
    """What kind of cluster the stack has now, "" if none is known.

    Containers of a half-made one would be forgotten if a cluster of another kind took its place.
    """
    try:
        return str(json.loads((run / stack / FACTS).read_text())["kind"])
    except (OSError, ValueError, KeyError, TypeError):
        return "kind" if (run / stack / kind_places.CONFIG).exists() else ""


def is_made(stack: str, run: Path = RUN) -> bool:
    """Whether the stack has a cluster already, with all that it takes of this machine."""
    return (run / stack / FACTS).exists()


def make_folder(stack: str, run: Path = RUN) -> Path:
    """Have the folder of the stack's cluster, for its owner only, and return it."""
    for folder in (run, run / stack):
        folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        folder.chmod(PRIVATE)  # one that was made when it was open to all
    return run / stack


def is_being_removed(stack: str, run: Path = RUN) -> bool:
    return (run / stack / REMOVING).exists()


def begin_removal(stack: str, run: Path = RUN) -> None:
    """Nothing to note where there is no cluster."""
    if (run / stack).exists():
        (run / stack / REMOVING).touch()


def end(stack: str, run: Path = RUN) -> None:
    """Have the next update restart the cluster and verify everything again."""
    (run / stack / START_ID).unlink(missing_ok=True)


def was_moved(folder: Path, facts: dict[str, Any]) -> bool:
    """Whether the folder of an embedded cluster lay elsewhere when the cluster was made: its
    processes and its kubeconfig name certificates by absolute paths."""
    here = str(folder.resolve())
    return bool(facts.get("folder", here) != here)


def processes(folder: Path) -> list[psutil.Process]:
    """The processes of the cluster in that folder, which may have been moved since."""
    return [process for process in _of_lab(folder) if process.info["name"] != MAKER]


def makers(folder: Path) -> list[psutil.Process]:
    """What is still making the cluster: it goes on when the program over it is killed."""
    return [process for process in _of_lab(folder) if process.info["name"] == MAKER]


def _of_lab(folder: Path) -> Iterator[psutil.Process]:
    """Those with the lab's id in their environment. Those of a lab that was made before there were
    ids are known by their program, which lies in the folder."""
    lab, place = identity.known(folder.name), f"{folder.resolve()}{os.sep}"
    import psutil

    for process in psutil.process_iter(["name", "cmdline", "environ"]):
        command, environment = process.info["cmdline"], process.info["environ"] or {}
        is_marked = lab != "" and environment.get(identity.MARK) == lab
        if is_marked or (command and command[0].startswith(place)):
            yield process
