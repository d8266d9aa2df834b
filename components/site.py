"""What a module builds on: settings, cluster, nodes, driver, and the checks before it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pulumi

from components.check import Check
from components.cluster import Cluster
from components.dra_driver import DraDriver
from components.gpu_node import SimulatedNodes, gpu_uuid
from components.modules.registry import MODULES
from components.settings import Settings


class Chapter(pulumi.ComponentResource):
    """The parent of all that one module makes."""

    def __init__(self, module: str) -> None:
        name = MODULES[module].stack
        super().__init__("dra-workshop:modules:Chapter", name, None, None)
        self.register_outputs({})


@dataclass
class Site:
    """Grows as the lab is wired; a module finds what the modules before it made."""

    settings: Settings
    checks: dict[str, list[Check]] = field(default_factory=dict)
    made_cluster: Cluster | None = None
    made_nodes: SimulatedNodes | None = None
    made_driver: DraDriver | None = None

    @property
    def cluster(self) -> Cluster:
        assert self.made_cluster is not None, "module 1 makes the cluster"  # noqa: S101
        return self.made_cluster

    @property
    def nodes(self) -> SimulatedNodes:
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
    def target(self) -> str:
        """The UUID of the GPU that modules for one GPU use."""
        return self.settings.target or gpu_uuid(self.nodes.names[0], 0)

    def needed_by(self, module: str) -> list[Check]:
        """The checks that must have passed before this module is verified."""
        return [check for need in MODULES[module].needs for check in self.checks[need]]

    def objects(
        self, parent: pulumi.Resource | None, *after: pulumi.Resource
    ) -> pulumi.ResourceOptions:
        """Options for Kubernetes objects on the lab's cluster.

        On a cluster of ours that is destroyed as a whole its objects go with it. They have fixed
        names, so an old one must be gone before its replacement is made; where the cluster
        itself is a new one, "gone" is what the provider finds there.
        """
        return pulumi.ResourceOptions(
            parent=parent,
            provider=self.cluster.provider,
            depends_on=list(after),
            deleted_with=self.cluster.disposable,
            delete_before_replace=True,
        )
