"""The only place, beside the clusters themselves, that knows what kinds of clusters there are."""

import pulumi

from components.cluster.base import ClusterKind
from components.cluster.embedded import Embedded
from components.cluster.existing import Existing
from components.cluster.host_node import WithHostNode
from components.cluster.kind import Kind
from components.settings import Settings, SettingsError
from machine import cluster_state

KINDS: dict[str, ClusterKind] = {"embedded": Embedded(), "kind": Kind(), "existing": Existing()}


def kind_of(settings: Settings) -> ClusterKind:
    """The kind of cluster that the stack is to have.

    Raises RunError where the stack has one of another kind, which has to be removed first.
    """
    has = cluster_state.kind_of(settings.stack)
    if has not in ("", settings.cluster):
        stack = settings.stack
        first = f"stack {stack} has a cluster of kind {has}; first: make destroy STACK={stack}"
        raise pulumi.RunError(str(SettingsError("cluster", settings.cluster, first)))
    return WithHostNode() if settings.node == "host" else KINDS[settings.cluster]
