"""What Docker holds of Kind clusters: their containers, who owns them, and their network.

kind cannot label its nodes. So each node of ours has a mount of /dev/null that does nothing, at a
path that ends in the lab's id: Docker shows it even when all files of the cluster are lost.
"""

import json
from collections.abc import Iterable
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


def mark(stack: str) -> str:
    """Where nodes of the stack's cluster have the mount that names their owner."""
    return f"{MARKS}/{identity.of(stack)}"


def containers(stack: str) -> dict[str, str]:
    """All nodes that have the name of the stack's cluster, running or not: name → the id of the
    lab that owns it, "" where it has no mark. Raises DockerError."""
    label = f"label={CLUSTER}={kind_places.cluster(stack)}"
    names = docker.run("ps", "--all", "--filter", label, "--format", "{{.Names}}").split()
    if not names:
        return {}
    output = docker.run("container", "inspect", "--format", "{{json .}}", *sorted(names))
    found = {}
    for node in (json.loads(line) for line in output.splitlines() if line):
        destinations = [mount["Destination"] for mount in node.get("Mounts") or []]
        found[node["Name"].removeprefix("/")] = _find_lab(destinations)
    return found


def ours(stack: str, *, unmarked: bool = False) -> list[str]:
    """The containers of the stack's cluster that are of this lab. Raises DockerError.

    unmarked: also those without a mark, whose owner nobody knows.
    """
    labs = _read_labs(stack) | ({""} if unmarked else set())
    return [name for name, lab in containers(stack).items() if lab in labs]


def _read_labs(stack: str) -> set[str]:
    """The ids that containers of this lab can have: also that in the cluster's own configuration,
    as the lab gets another id after its state was lost, and clusters of earlier versions have none.
    """
    config = RUN / stack / kind_places.CONFIG
    text = config.read_text(encoding="utf-8") if has_files(stack) else ""
    nodes = (yaml.safe_load(text) or {}).get("nodes", [])  # [] before anything was made with it
    mounts = [mount for node in nodes for mount in node.get("extraMounts", [])]
    configured = {_find_lab(mount["containerPath"] for mount in mounts)} if nodes else set()
    return configured | ({identity.known(stack)} - {""})


def _find_lab(paths: Iterable[str]) -> str:
    return next((Path(path).name for path in paths if path.startswith(f"{MARKS}/")), "")


def has_files(stack: str) -> bool:
    """Whether there are files of a Kind cluster of the stack, whole or half-made."""
    return (RUN / stack / kind_places.CONFIG).exists()


def require_free(stack: str) -> str:
    """Raises LabError if a cluster that is not this lab's has its name."""
    name, nodes = kind_places.cluster(stack), ours(stack)
    if strangers := sorted(set(containers(stack)) - set(nodes)):
        raise LabError(
            f"there is a kind cluster {name} that is not known here: {', '.join(strangers)}",
            f"if nobody needs it: .tools/bin/kind delete cluster --name {name}; or give the stack "
            "another name",
        )
    return f"of this stack: {', '.join(nodes)}" if nodes else "free"


def note_network() -> None:
    """Note, before kind makes the network, that a lab is the reason for it if it is missing now."""
    if not _network_exists():
        docker.run("volume", "create", OURS)


def remove_network(*, noted: bool) -> None:
    """Remove the network that a lab was the reason for, unless a container uses it, running or not.

    noted: whether something beside Docker's volume says that a lab was the reason.
    """
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
