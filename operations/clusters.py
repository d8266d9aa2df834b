"""The clusters of stacks, of whatever kind: told apart by what lies in `.run/<stack>/`."""

from __future__ import annotations

from collections.abc import Callable

from components.cluster import life
from operations import embedded, existing, host_node, kind

REVIVE: dict[str, Callable[[str, str, str], None]] = {
    "embedded": embedded.revive,
    "kind": kind.revive,
    "existing": existing.revive,
}


def revive(stack: str, incarnation: str) -> None:
    """Start what ended of a whole cluster. Raises OperationError if it does not start."""
    REVIVE[life.kind_of(stack)](stack, incarnation, life.of(stack))


def down(stack: str) -> None:
    """Remove the stack's cluster, whole or half-made; nothing there is no error.

    Raises OperationError that names what is left.
    """
    if life.kind_of(stack) == existing.KIND:
        existing.detach(stack)
        return
    host_node.remove(stack)
    kind.down(stack)
    embedded.down(stack)


def whole(stack: str) -> bool:
    """Whether a real driver of the stack's cluster can still undo what it has done.

    True where no such driver is, and so nothing to undo.
    """
    if kind.is_ours(stack):
        return kind.whole(stack)
    return not host_node.is_ours(stack) or host_node.whole(stack)


def had(stack: str) -> dict[str, bool]:
    """What the stack has of this machine, and has to give back: containers, whole or half-made; the
    machine itself as a node; GPUs."""
    node = host_node.is_ours(stack)
    return {
        "containers": kind.is_ours(stack),
        "node": node,
        "gpus": node or kind.has_gpus(stack),
    }
