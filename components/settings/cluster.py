"""Settings of the cluster and of its nodes that have GPUs."""

import re
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any

from components.settings.parsers import count, image, listed, one_of, pairs, strings, version
from components.settings.setting import NotAllowed, setting
from machine import kind_images
from machine.host_networks import Networks, unusable

CLUSTERS = ("embedded", "kind", "existing")
NODES = ("simulated", "host")
"""Of an embedded cluster; the others have nodes of their own."""
OWN = "own"
"""What `node` is where the cluster has nodes of its own."""
MOST_NODES = 16
"""More would be too many resources for Pulumi's file backend, whose cost grows quadratically."""
KUBERNETES = "1.37.2"
"""What set-up builds; a host node has it too."""
GATE = re.compile(r"[A-Z][A-Za-z0-9]*=(true|false)")
API = re.compile(r"[a-z0-9.-]+(/[a-z0-9]+){1,2}=(true|false)")


def _kubernetes(value: str, before: Any) -> str:
    """The version that is given, else the newest that such a cluster can have here."""
    newest = kind_images.versions()[0] if before.cluster == "kind" else KUBERNETES
    return version(value or newest)


def _node(value: str, before: Any) -> str:
    node = one_of(NODES, value)
    if before.cluster == "embedded":
        return node
    if node == "host":
        raise NotAllowed(value, "a host node belongs to cluster=embedded")
    return OWN


def _nodes(value: str, before: Any) -> int:
    number = count(1, MOST_NODES, value)
    if before.node == "host" and number != 1:
        raise NotAllowed(value, "with node=host this machine is the only node: 1")
    return number


def _networks(value: str, _: Any) -> Networks:
    items = strings(value)
    if wrong := unusable(items):
        raise NotAllowed(*wrong)
    return Networks(*items)


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """kubernetes_version: without a leading "v"; kubeconfig: of an existing cluster, "" for
    kubectl's own choice."""

    cluster: str = setting(
        default="embedded",
        meaning="Where the lab runs. embedded: a real control plane as processes of this user, "
        "without containers. kind: containers of Docker. existing: a cluster that is there, see "
        "context.",
        parse=partial(one_of, CLUSTERS),
    )
    kubernetes_version: str = setting(
        meaning=f"Version of Kubernetes. The embedded cluster has {KUBERNETES}; kind has "
        f"images of {listed(kind_images.DIGESTS, 'and')}. Empty: the newest; on kind that of "
        "make kind-node-image where it was built.",
        parse=_kubernetes,
    )
    feature_gates: tuple[str, ...] = setting(
        default=(),
        meaning="Kubernetes feature gates, each as Name=true or Name=false.",
        parse=partial(pairs, GATE, "each is Name=true or Name=false"),
    )
    runtime_config: tuple[str, ...] = setting(
        default=(),
        meaning="APIs to switch, each as group/version=true or group/version=false.",
        parse=partial(pairs, API, "each is group/version=true or group/version=false"),
    )
    kubeconfig: str = setting(
        meaning="Kubeconfig of the existing cluster; empty: $KUBECONFIG, else ~/.kube/config. "
        "It is only read.",
        only="cluster=existing",
    )
    context: str = setting(
        meaning="Context of the existing cluster; it is never guessed.",
        only="cluster=existing",
    )


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """node: simulated, host, or OWN; node_image: "" for the one of the version of Kubernetes."""

    node: str = setting(
        default="simulated",
        meaning="What the GPU nodes of an embedded cluster are. simulated: kwok runs their pods, "
        "their GPUs are only described. host: this machine, with its own GPUs and a real kubelet "
        "(Linux, root, make setup-host).",
        parse=_node,
    )
    nodes: int = setting(
        default="1",
        meaning=f"How many GPU nodes, 1 to {MOST_NODES}. An existing cluster has its own.",
        parse=_nodes,
    )
    node_image: str = setting(
        meaning="Image of kind's nodes; empty: the one that make kind-node-image built, else "
        "kind's own of that version, by its digest.",
        parse=partial(image, "kindest/node:v1.37.0"),
        only="cluster=kind",
    )
    host_networks: Networks = setting(
        default=astuple(Networks()),
        meaning="Networks of a host node: of services, of the node and of pods, in this order. "
        "Each is private, from /16 to /24, and used by nothing else on the machine. A change "
        "makes a new cluster.",
        parse=_networks,
        only="node=host",
    )
