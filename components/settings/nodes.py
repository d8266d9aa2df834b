"""Settings of the nodes that have GPUs."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

from components.settings.parsers import count, image, one_of, strings
from components.settings.setting import NotAllowed, setting
from machine.host_networks import Networks, unusable

NODES = ("simulated", "host")
"""Of an embedded cluster; the others have nodes of their own."""
OWN = "own"
"""What `node` is where the cluster has nodes of its own."""
MOST_NODES = 16
"""More would be too many resources for Pulumi's file backend, whose cost grows quadratically."""


def _node(value: str, before: Any) -> str:
    node = str(one_of(NODES)(value, before))
    if before.cluster == "embedded":
        return node
    if node == "host":
        raise NotAllowed(value, "a host node belongs to cluster=embedded")
    return OWN


def _nodes(value: str, before: Any) -> int:
    number = int(count(MOST_NODES)(value, before))
    if before.node == "host" and number != 1:
        raise NotAllowed(value, "with node=host this machine is the only node: 1")
    return number


def _networks(value: str, _: Any) -> Networks:
    items = strings(value)
    if wrong := unusable(items):
        raise NotAllowed(*wrong)
    return Networks(*items)


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """node: simulated, host, or OWN; node_image: "" for the one of the version of Kubernetes."""

    node: str = setting(
        "node",
        default="simulated",
        meaning="What the GPU nodes of an embedded cluster are. simulated: kwok runs their "
        "pods, their GPUs are only described. host: this machine, with its own GPUs and a "
        "real kubelet (Linux, root, make setup-host).",
        parse=_node,
    )
    nodes: int = setting(
        "nodes",
        default="1",
        meaning=f"How many GPU nodes, 1 to {MOST_NODES}. An existing cluster has its own.",
        parse=_nodes,
    )
    node_image: str = setting(
        "nodeImage",
        default="",
        meaning="Image of kind's nodes; empty: the one that make kind-node-image built, else "
        "kind's own of that version, by its digest.",
        parse=image("kindest/node:v1.36.4"),
        only="cluster=kind",
    )
    host_networks: Networks = setting(
        "hostNetworks",
        default=astuple(Networks()),
        meaning="Networks of a host node: of services, of the node and of pods, in this "
        "order. Each is private, from /16 to /24, and used by nothing else on the machine. "
        "A change makes a new cluster.",
        parse=_networks,
        only="node=host",
    )
