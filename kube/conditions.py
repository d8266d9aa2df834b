"""Conditions in the status of objects, and waiting for nodes to be ready."""

from typing import TYPE_CHECKING, Any

from kube.errors import KubeError

if TYPE_CHECKING:
    from kube.client import Kube


def condition(subject: Any, kind: str) -> Any:
    """The condition of that type in the object's status, None if it has none."""
    conditions = (subject.status.conditions or []) if subject.status else []
    return next((c for c in conditions if c.type == kind), None)


def is_true(subject: Any, kind: str) -> bool:
    found = condition(subject, kind)
    return found is not None and bool(found.status == "True")


def wait_for_nodes(kube: "Kube", names: list[str], seconds: float) -> str:
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
