"""The clusters of stacks, of whatever kind: told apart by what lies in `.run/<stack>/`, and a Kind
cluster whose files are lost by the state and the stack's configuration."""

import shutil
from collections.abc import Callable
from typing import Any

from machine import cluster_state, docker, identity, kind_docker, temporary_files
from machine import host_node as machine_node
from machine.configuration import read_configuration
from operations.embedded import cluster as embedded
from operations.existing import cluster as existing
from operations.host_node import node as host_node
from operations.kind import cluster as kind

REVIVE: dict[str, Callable[[str, str, str], None]] = {
    "embedded": embedded.revive,
    "kind": kind.revive,
    "existing": existing.revive,
}


def revive(stack: str, cluster_id: str) -> None:
    """Start what ended of a whole cluster. Raises LabError if it does not start."""
    REVIVE[cluster_state.kind_of(stack)](stack, cluster_id, cluster_state.of(stack))


def down(stack: str) -> None:
    """Remove the stack's cluster, whole or half-made. Raises LabError that names what remains."""
    if cluster_state.kind_of(stack) == existing.KIND:
        existing.detach(stack)
    else:
        host_node.remove(stack)
        if may_have_containers(stack):
            kind.down(stack)
        embedded.down(stack)
    temporary_files.remove(stack)


def whole(stack: str) -> bool:
    """Whether a real driver of the stack's cluster can still undo what it has done; true without
    such a driver, where there is nothing to undo."""
    if kind_docker.has_files(stack) or kind.recorded(stack):
        return kind.whole(stack)
    return not machine_node.is_ours(stack) or host_node.whole(stack)


def may_have_containers(stack: str) -> bool:
    """Whether Docker is to be asked for containers of the stack. Where there is no docker program,
    a Kind cluster that is only configured was never made: module 0 refuses it."""
    configured = read_configuration(stack)["cluster"] == kind.KIND and shutil.which(docker.PROGRAM)
    return bool(kind_docker.has_files(stack) or kind.recorded(stack) or configured)


def read_holdings(stack: str) -> dict[str, Any]:
    """What the stack has to give back to this machine: containers, the machine itself as a node,
    GPUs. recorded, daemon: what is known of containers beside Docker."""
    node = machine_node.is_ours(stack)
    return {
        "containers": may_have_containers(stack),
        "recorded": kind.recorded(stack),
        "daemon": identity.known_facts(stack).get("daemon", ""),
        "node": node,
        "gpus": node or kind.has_gpus(stack),
    }
