"""Whether a cluster runs as it was started: by its files, ports and containers, not by its API.

A reboot or a kill ends a cluster behind Pulumi's back. So the program looks when it starts: a
cluster that lost a process or a file, or whose update was killed, gets a new start id, an input
whose change restarts it.
"""

import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import host_places, identity, kind_places
from machine.files import make_private_folder, read_json

if TYPE_CHECKING:  # a plain preview does without it
    import psutil

RUN = Path(".run")
STAGES = Path("manifests/simulation")
"""How kwok runs simulated nodes and their pods; it reads them when the cluster is made."""
MAKER = "kwokctl"
RECIPE = 2
"""How an embedded cluster is made. A new number replaces clusters that were made in another way:
those of 1 let every user of the machine write into etcd."""
FACTS = "cluster.json"
KUBECONFIG = "kubeconfig"
REMOVING = "removing"
"""File that says that the removal of the lab has begun: from then on Pulumi forgets its objects one
by one."""
START_ID = "start_id"
"""File that holds the id of the cluster's last start."""
ANSWER_SECONDS = 2
STARTED = "started.json"
"""File that holds when each container was started; one that was started again by somebody else has
lost its mounts in memory, CDI specs among them."""

_new = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def of(stack: str) -> str:
    """The id of the cluster's start, a new one if it is not whole and running."""
    folder = RUN / stack
    try:
        start_id = (folder / START_ID).read_text()
    except OSError:
        return _new
    whole = (folder / KUBECONFIG).exists() and not is_being_removed(stack)
    return start_id if whole and runs(stack) else _new


def runs(stack: str) -> bool:
    """Whether all processes, or containers, of the cluster run as they were started."""
    folder, facts = RUN / stack, identity.facts(stack)
    match facts.get("kind"):
        case "embedded":
            node_runs = not (folder / host_places.FACTS).exists() or host_places.daemons_run()
            # Facts of an early version, without ports, say nothing of what runs.
            whole = "ports" in facts and node_runs and not was_moved(folder, facts)
            return whole and all(map(listens, facts["ports"].values()))
        case "kind":
            noted = folder / STARTED
            return noted.exists() and read_json(noted) == kind_places.started(facts["nodes"])
        case kind:
            return kind == "existing"  # others see to it


def listens(port: int) -> bool:
    """Whether something does on loopback: each process of a cluster has a port of its own."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS):
            return True
    except OSError:
        return False


def kind_of(stack: str) -> str:
    """What kind of cluster the stack has now, also a half-made one; "" if none is known."""
    half_made = "kind" if (RUN / stack / kind_places.CONFIG).exists() else ""
    return str(identity.facts(stack).get("kind", half_made))


def is_made(stack: str) -> bool:
    """Whether the stack has a cluster already, with all that it takes of this machine."""
    return (RUN / stack / FACTS).exists()


def make_folder(stack: str) -> Path:
    """Make the folder of the stack's cluster, for its owner only, and return it."""
    for folder in (RUN, RUN / stack):
        make_private_folder(folder)
    return RUN / stack


def is_being_removed(stack: str) -> bool:
    return (RUN / stack / REMOVING).exists()


def begin_removal(stack: str) -> None:
    """Note that the removal of the lab has begun, if it has a cluster."""
    if (RUN / stack).exists():
        (RUN / stack / REMOVING).touch()


def end(stack: str) -> None:
    """Have the next update restart the cluster and verify everything again."""
    (RUN / stack / START_ID).unlink(missing_ok=True)


def was_moved(folder: Path, facts: dict[str, Any]) -> bool:
    """Whether an embedded cluster was made in another folder: its processes and its kubeconfig
    name certificates by absolute paths."""
    here = str(folder.resolve())
    return bool(facts.get("folder", here) != here)


def processes(folder: Path) -> "list[psutil.Process]":
    """The processes of the cluster in that folder, which may have been moved since."""
    return [process for process in _of_lab(folder) if process.info["name"] != MAKER]


def makers(folder: Path) -> "list[psutil.Process]":
    """What still makes the cluster: it goes on when the program over it is killed."""
    return [process for process in _of_lab(folder) if process.info["name"] == MAKER]


def _of_lab(folder: Path) -> "Iterator[psutil.Process]":
    """Those with the lab's id in their environment; where a lab was made before there were ids,
    those whose program lies in the folder."""
    import psutil

    lab, place = identity.known(folder.name), f"{folder.resolve()}{os.sep}"
    for process in psutil.process_iter(["name", "cmdline", "environ"]):
        command, environment = process.info["cmdline"], process.info["environ"] or {}
        if (lab and environment.get(identity.MARK) == lab) or (
            command and command[0].startswith(place)
        ):
            yield process
