"""Nodes, and when they are ready."""

from __future__ import annotations

from typing import Any

from kube.client import Kube
from kube.conditions import condition
from kube.errors import KubeError


def wait_for_nodes(kube: Kube, names: list[str], seconds: float) -> str:
    """The names, as soon as all these nodes are ready; raises KubeError at the deadline."""

    def ready(nodes: list[Any]) -> set[str]:
        states = ((node.metadata.name, condition(node, "Ready")) for node in nodes)
        return {name for name, state in states if state is not None and state.status == "True"}

    nodes = kube.wait(
        kube.core.list_node,
        lambda found: set(names) <= ready(found),
        seconds,
        what=f"nodes {', '.join(names)}",
    )
    if missing := set(names) - ready(nodes):
        raise KubeError(f"after {seconds:.0f} s not ready: {', '.join(sorted(missing))}")
    return ", ".join(sorted(names))
