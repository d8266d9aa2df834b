"""Waiting for nodes to be ready."""

from __future__ import annotations

from typing import Any

from kube.client import Kube
from kube.conditions import is_true
from kube.errors import KubeError


def wait_for_nodes(kube: Kube, names: list[str], seconds: float) -> str:
    """The names, as soon as all these nodes are ready; raises KubeError at the deadline."""

    def missing(nodes: list[Any]) -> set[str]:
        return set(names) - {node.metadata.name for node in nodes if is_true(node, "Ready")}

    nodes = kube.wait(
        kube.core.list_node,
        lambda found: not missing(found),
        seconds,
        what=f"nodes {', '.join(names)}",
    )
    if late := missing(nodes):
        raise KubeError(f"after {seconds:.0f} s not ready: {', '.join(sorted(late))}")
    return ", ".join(sorted(names))
