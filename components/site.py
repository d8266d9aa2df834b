"""What a module builds on: settings, cluster, nodes, driver, and the checks before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import pulumi

from components.check import Check
from components.cluster import Cluster
from components.cluster.host_node import HostNode
from components.dra_driver import DraDriver
from components.modules.registry import MODULES, closure
from components.settings import Settings


class Chapter(pulumi.ComponentResource):
    """The parent of all that one module makes."""

    def __init__(self, module: str) -> None:
        name = MODULES[module].stack
        super().__init__("dra-workshop:modules:Chapter", name, None, None)
        self.register_outputs({})


class GpuNodes(Protocol):
    """The nodes that have GPUs, simulated or real.

    names: of the nodes; subjects: change when one of them is made anew; made: depend on it for
    pods; gpus_per_node: how many GPUs each has; uuids: of the first node's GPUs.
    """

    names: list[str]
    subjects: list[pulumi.Output[str]]
    made: list[pulumi.Resource]
    gpus_per_node: pulumi.Input[int]
    uuids: list[str] | pulumi.Output[list[str]]


@dataclass
class Site:
    """Grows as the lab is wired; a module finds what the modules before it made.

    gpu_users: the checks that leave the GPU `target` free again; modules that use it take turns.
    """

    settings: Settings
    checks: dict[str, list[Check]] = field(default_factory=dict)
    gpu_users: list[Check] = field(default_factory=list)
    made_cluster: Cluster | None = None
    made_nodes: GpuNodes | None = None
    host: HostNode | None = None
    made_driver: DraDriver | None = None

    @property
    def cluster(self) -> Cluster:
        assert self.made_cluster is not None, "module 1 makes the cluster"  # noqa: S101
        return self.made_cluster

    @property
    def nodes(self) -> GpuNodes:
        assert self.made_nodes is not None, "module 1 makes the nodes"  # noqa: S101
        return self.made_nodes

    @property
    def driver(self) -> DraDriver:
        assert self.made_driver is not None, "module 2 makes the driver"  # noqa: S101
        return self.made_driver

    @property
    def simulated(self) -> bool:
        """Whether the GPU nodes, and so devices and kubelets, are simulated."""
        return self.settings.node == "simulated"

    @property
    def target(self) -> pulumi.Input[str]:
        """The UUID of the GPU that modules for one GPU use; on a real node it is found out."""
        if self.settings.target:
            return self.settings.target
        uuids = self.nodes.uuids
        return uuids[0]

    @property
    def modules(self) -> list[str]:
        """Ids of the modules of the stack, with those that they need."""
        return [module.id for module in closure(self.settings.modules)]

    @property
    def memory_limit(self) -> dict[str, int] | None:
        """What module 5's clients may use of a GPU, None where it is not wanted."""
        if "5" not in self.modules:
            return None
        return {"mib": self.settings.mps_memory_mib, "clients": self.settings.mps_clients}

    def needed_by(self, module: str) -> list[Check]:
        """The checks that must have passed before this module is verified."""
        return [check for need in MODULES[module].needs for check in self.checks[need]]

    def objects(
        self, parent: pulumi.Resource | None, *after: pulumi.Resource
    ) -> pulumi.ResourceOptions:
        """Options for Kubernetes objects on the lab's cluster.

        On a cluster of ours that is destroyed as a whole its objects go with it, except where a
        real driver has something to undo for them. They have fixed
        names, so an old one must be gone before its replacement is made; where the cluster
        itself is a new one, "gone" is what the provider finds there.
        """
        return pulumi.ResourceOptions(
            parent=parent,
            provider=self.cluster.provider,
            depends_on=list(after),
            deleted_with=self.cluster.disposable if self.simulated else None,
            delete_before_replace=True,
        )
