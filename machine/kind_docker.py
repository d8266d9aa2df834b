"""What Docker holds of Kind clusters: their containers, whose they are, and their network.

kind lets nobody label its nodes. So each node of ours has a mount of /dev/null that does nothing,
at a path that ends in the lab's id: Docker tells it for as long as the container is there, also
when all files of the cluster are lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from machine import docker, identity, kind_places
from machine.cluster_state import RUN
from machine.errors import LabError

CLUSTER = "io.x-k8s.kind.cluster"
"""kind's own label; its value is the name of the cluster."""
MARKS = "/etc/dra-workshop/lab"
NETWORK = "kind"
"""Docker's network of all Kind clusters of a machine; kind makes it and leaves it behind."""
OURS = "dra-workshop-network-kind"
"""An empty volume that says that a lab's cluster was the reason for the network."""


@dataclass(frozen=True)
class Container:
    """A node, running or not; lab: the id of the lab whose it is, "" where it has no mark."""

    name: str
    lab: str


def mark(stack: str) -> str:
    """Where nodes of the stack's cluster have the mount that tells whose they are."""
    return f"{MARKS}/{identity.of(stack)}"


def containers(stack: str) -> list[Container]:
    """All that have the name of the stack's cluster, whosever they are. Raises DockerError."""
    label = f"label={CLUSTER}={kind_places.cluster(stack)}"
    names = docker.run("ps", "--all", "--filter", label, "--format", "{{.Names}}").split()
    if not names:
        return []
    told = docker.run("container", "inspect", "--format", "{{json .}}", *sorted(names))
    found = [json.loads(line) for line in told.splitlines() if line]
    return [
        Container(
            each["Name"].removeprefix("/"),
            _lab(mount["Destination"] for mount in each.get("Mounts") or []),
        )
        for each in found
    ]


def ours(stack: str, *, unmarked: bool = False) -> list[str]:
    """The containers of the stack's cluster that are of this lab. Raises DockerError.

    unmarked: also count those without a mark, of which nobody can tell whose they are.
    """
    labs = _labs(stack) | ({""} if unmarked else set())
    return [each.name for each in containers(stack) if each.lab in labs]


def others(stack: str) -> list[str]:
    """The containers that have the name of the stack's cluster and are not of this lab."""
    return sorted({each.name for each in containers(stack)} - set(ours(stack)))


def _labs(stack: str) -> set[str]:
    """The ids that containers of this lab can have.

    The cluster's own configuration tells with which they were made: the lab's id is another after
    its state was lost, and clusters of earlier versions have none.
    """
    known = {lab for lab in [identity.known(stack)] if lab}
    config = RUN / stack / kind_places.CONFIG
    if not config.exists():
        return known
    nodes = (yaml.safe_load(config.read_text(encoding="utf-8")) or {}).get("nodes", [])
    if not nodes:  # nothing was made with it yet
        return known
    mounts = [mount for node in nodes for mount in node.get("extraMounts", [])]
    return known | {_lab(mount["containerPath"] for mount in mounts)}


def _lab(paths: Iterable[str]) -> str:
    marks = [Path(path) for path in paths if path.startswith(f"{MARKS}/")]
    return marks[0].name if marks else ""


def has_files(stack: str) -> bool:
    """Whether there are files of a Kind cluster of the stack, whole or half-made."""
    return (RUN / stack / kind_places.CONFIG).exists()


def require_free(stack: str) -> str:
    """Raises LabError if a cluster that is not this lab's has its name."""
    name = kind_places.cluster(stack)
    if strangers := others(stack):
        raise LabError(
            f"there is a kind cluster {name} that is not known here: {', '.join(strangers)}",
            f"if nobody needs it: .tools/bin/kind delete cluster --name {name}; or give the stack "
            "another name",
        )
    nodes = ours(stack)
    return f"of this stack: {', '.join(nodes)}" if nodes else "free"


# --- the network -------------------------------------------------------------------------------


def note_network() -> None:
    """Before kind makes it: without it there now, a lab is the reason for it."""
    if not _network_exists():
        docker.run("volume", "create", OURS)


def remove_network(*, noted: bool) -> None:
    """Remove the network that a lab was the reason for, unless a container has it, also one that
    does not run. noted: whether it is known to be so beside Docker."""
    sign = docker.run("volume", "ls", "--quiet", "--filter", f"name=^{OURS}$").strip()
    if not noted and not sign:
        return
    if docker.run("ps", "--all", "--quiet", "--filter", f"network={NETWORK}").strip():
        docker.run("volume", "create", OURS)  # the last lab on it removes it
        return
    if _network_exists():
        docker.run("network", "rm", NETWORK)
    docker.run("volume", "rm", "--force", OURS)


def _network_exists() -> bool:
    return bool(docker.run("network", "ls", "--quiet", "--filter", f"name=^{NETWORK}$").strip())
