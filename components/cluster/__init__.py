"""Ways to get a cluster, one a file, behind one small interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import pulumi
import pulumi_kubernetes as k8s


class Cluster(Protocol):
    """What the rest of the program knows of a cluster.

    owned: whether the lab made it, for itself alone; one that it did not make is shared with
    others; kubeconfig: its path relative to the project; cluster_id: one that changes when the
    cluster was made anew; start_id: one that changes when it had to be restarted; facts: what
    the stack exports; disposable: the resource that takes all objects with it when it is
    destroyed, None where they must be deleted one by one; namespace_labels: by which the lab's
    namespaces are known as its own, where the cluster is shared.
    """

    owned: bool
    kubeconfig: str
    provider: k8s.Provider
    cluster_id: pulumi.Output[str]
    start_id: str
    facts: pulumi.Output[dict[str, Any]]
    disposable: pulumi.Resource | None
    namespace_labels: Mapping[str, pulumi.Input[str]]
