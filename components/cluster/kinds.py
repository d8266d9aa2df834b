"""The kinds of clusters: what each needs of this machine, what it makes, and whose driver it has.

The only place, beside the clusters themselves, that knows what kinds there are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pulumi

from components import manifests
from components.check import Program
from components.cluster.embedded import EmbeddedCluster, EmbeddedClusterArgs
from components.cluster.existing import (
    ExistingCluster,
    ExistingClusterArgs,
    ExistingNodes,
    outside,
    rendered,
)
from components.cluster.host_node import HostNode
from components.cluster.kind import KindCluster, KindClusterArgs, KindNodes
from components.dra_driver import DraDriver, DraDriverArgs, permissions
from components.drivers import values
from components.existing_driver import ExistingDriver, ExistingDriverArgs
from components.gpu_host import GpuHost, GpuHostArgs
from components.gpu_node import (
    SimulatedNodes,
    SimulatedNodesArgs,
    SimulatedSlices,
    SimulatedSlicesArgs,
)
from components.lab_context import GpuDriver, LabContext
from components.modules.registry import Module
from components.published import GateArgs
from components.settings import Settings
from components.workload import RUN
from kube.permissions import Permissions
from machine import cluster_state
from toolchain.images import KIND_IMAGES

IMAGES = Path(".tools/images")
"""Relative, as all that Commands are told: a checkout that was moved can still remove its lab."""


class ClusterKind(ABC):
    """What the kinds have in common: the lab makes the cluster, and brings the driver."""

    @abstractmethod
    def prerequisites(self, lab: LabContext) -> list[Program]:
        """What module 0 verifies."""

    @abstractmethod
    def provide(self, lab: LabContext, opts: pulumi.ResourceOptions) -> None:
        """Give the lab its cluster and nodes."""

    def slices(self, lab: LabContext) -> list[Any]:  # noqa: ARG002
        """Those that the lab publishes in place of the driver's plugin."""
        return []

    def driver(self, lab: LabContext) -> GpuDriver:
        """The DRA driver, by its chart."""
        settings = lab.settings
        args = DraDriverArgs(
            driver=settings.driver,
            chart=settings.driver_chart,
            version=settings.driver_version,
            cluster_owned=lab.cluster.owned,
            kubeconfig=lab.cluster.kubeconfig,
            nodes=lab.nodes.names,
            gpus_per_node=lab.nodes.gpus_per_node,
            publishers=self.slices(lab),
            driver_root=lab.nodes.driver_root,
            memory_limit=lab.memory_limit,
            target=settings.target or "",
            labels=lab.cluster.namespace_labels,
            outside=lab.outside,
        )
        # The chart's pods need nodes that run them.
        return DraDriver(args, lab.objects(None, *lab.nodes.made))


class Embedded(ClusterKind):
    """A control plane as processes of this user, with simulated nodes."""

    def prerequisites(self, lab: LabContext) -> list[Program]:
        return [control_plane_tools(lab.settings)]

    def provide(self, lab: LabContext, opts: pulumi.ResourceOptions) -> None:
        settings = lab.settings
        lab.made_cluster = control_plane(settings, opts, disposable=True)
        nodes = SimulatedNodesArgs(count=settings.nodes, gpus=settings.gpus_per_node)
        lab.made_nodes = SimulatedNodes(nodes, lab.objects(None))

    def slices(self, lab: LabContext) -> list[Any]:
        assert isinstance(lab.made_nodes, SimulatedNodes)  # noqa: S101, made above
        settings = lab.settings
        args = SimulatedSlicesArgs(
            nodes=lab.made_nodes.uids,
            gpus=settings.gpus_per_node,
            profile=settings.gpu_profile,
            driver_version=settings.driver_version,
        )
        return SimulatedSlices(args, lab.objects(None)).slices


class WithHostNode(ClusterKind):
    """The same control plane, with this machine as its node."""

    def prerequisites(self, lab: LabContext) -> list[Program]:
        settings = lab.settings
        host = {
            "stack": settings.stack,
            "gpu": needs_gpu(lab),
            "networks": asdict(settings.host_networks),
        }
        return [control_plane_tools(settings), ("host", host)]

    def provide(self, lab: LabContext, opts: pulumi.ResourceOptions) -> None:
        # A real driver has something to undo for each claim.
        lab.made_cluster = control_plane(lab.settings, opts, disposable=False)
        ready = pulumi.ResourceOptions(depends_on=[lab.cluster.provider])
        lab.made_nodes = HostNode(lab.cluster, lab.settings.host_networks, ready)


def control_plane_tools(settings: Settings) -> Program:
    """What module 0 verifies for a control plane as processes."""
    return (
        "prerequisites",
        {
            "stack": settings.stack,
            "kubernetesVersion": settings.kubernetes_version,
            "driverChart": settings.driver_chart,
            "featureGates": list(settings.feature_gates),
            "runtimeConfig": list(settings.runtime_config),
        },
    )


def control_plane(
    settings: Settings, opts: pulumi.ResourceOptions, *, disposable: bool
) -> EmbeddedCluster:
    args = EmbeddedClusterArgs(
        kubernetes_version=settings.kubernetes_version,
        feature_gates=settings.feature_gates,
        runtime_config=settings.runtime_config,
        disposable=disposable,
        networks=settings.host_networks,
    )
    return EmbeddedCluster(args, opts)


class Kind(ClusterKind):
    """Containers of Docker, with this machine's GPUs inside."""

    def prerequisites(self, lab: LabContext) -> list[Program]:
        settings = lab.settings
        return [
            (
                "workstation",
                {
                    "stack": settings.stack,
                    "kubernetesVersion": settings.kubernetes_version,
                    "driver": settings.driver,
                    "gpu": needs_gpu(lab),
                    "driverChart": settings.driver_chart if needs_gpu(lab) else "",
                    "nodeImage": settings.node_image,
                    "strategy": settings.gpu_mounts,
                    "gpus": [str(index) for subset in settings.gpu_subsets for index in subset],
                    "workers": settings.nodes,
                    "ports": [],
                    "strict": settings.strict,
                },
            )
        ]

    def provide(self, lab: LabContext, opts: pulumi.ResourceOptions) -> None:
        settings = lab.settings
        wants_gpus = settings.driver == "nvidia" and needs_gpu(lab)
        gpus = GpuHostArgs(mounts=settings.gpu_mounts, subsets=settings.gpu_subsets)
        host = GpuHost(gpus, opts) if wants_gpus else None
        cluster = KindCluster(
            KindClusterArgs(
                kubernetes_version=settings.kubernetes_version,
                feature_gates=settings.feature_gates,
                runtime_config=settings.runtime_config,
                image=settings.node_image,
                workers=settings.nodes,
                images=tuple(str(IMAGES / image.file) for image in KIND_IMAGES),
                host=host,
            ),
            opts,
        )
        lab.made_cluster = cluster
        devices = lab.kind_of_driver.devices
        lab.made_nodes = KindNodes(cluster, settings.nodes, settings.gpus_per_node, devices, host)


class Existing(ClusterKind):
    """A cluster that others use too, by a context of a kubeconfig."""

    def prerequisites(self, lab: LabContext) -> list[Program]:
        settings, kind = lab.settings, lab.kind_of_driver
        installs = settings.install_driver and needs_gpu(lab)
        namespaces = [name for module in lab.modules for name in module.namespaces]
        makes: pulumi.Input[list[str]] = _made(lab.modules)
        if installs:
            chart_values = values(settings.driver, settings.driver_version, 0, shared=True)
            chart = rendered(kind, settings.driver_chart, chart_values, settings.kubernetes_version)
            lab.outside = chart.apply(outside)
            makes = chart.apply(lambda objects: _made(lab.modules, permissions(kind.name, objects)))
        return [
            (
                "existing",
                {
                    "stack": settings.stack,
                    "kubeconfig": settings.kubeconfig,
                    "context": settings.context,
                    "driver": kind.domain,
                    "chart": kind.name,
                    "driverChart": settings.driver_chart,
                    "plugin": kind.plugin,
                    "install": installs,
                    "usesDriver": needs_gpu(lab),
                    "driverNamespace": kind.name,
                    "namespaces": [*([kind.name] if installs else []), *namespaces],
                    "modules": {m.id: m.namespaces[0] for m in lab.modules if m.uses_gpu},
                    "makes": makes,
                    "outside": lab.outside,
                    "target": settings.target or "",
                    "workloadImage": settings.workload_image,
                    "featureGates": list(settings.feature_gates),
                },
            )
        ]

    def provide(self, lab: LabContext, opts: pulumi.ResourceOptions) -> None:
        settings, kind = lab.settings, lab.kind_of_driver
        cluster = ExistingCluster(
            ExistingClusterArgs(
                kubeconfig=settings.kubeconfig,
                context=settings.context,
                driver=kind.domain,
                chart=kind.name,
                plugin=kind.plugin,
                install=settings.install_driver,
                target=settings.target or "",
                outside=lab.outside,
            ),
            opts,
        )
        lab.made_cluster = cluster
        lab.made_nodes = ExistingNodes(cluster)

    def driver(self, lab: LabContext) -> GpuDriver:
        if lab.settings.install_driver:
            return super().driver(lab)
        gate = GateArgs(
            cluster_owned=lab.cluster.owned,
            kubeconfig=lab.cluster.kubeconfig,
            driver=lab.kind_of_driver.domain,
            nodes=lab.nodes.names,
            gpus_per_node=lab.nodes.gpus_per_node,
            target=lab.settings.target or "",
            memory_limit=lab.memory_limit,
        )
        found = lab.cluster.facts["driver"]
        args = ExistingDriverArgs(
            driver=lab.kind_of_driver, found=found, cluster_id=lab.cluster.cluster_id, gate=gate
        )
        return ExistingDriver(args, pulumi.ResourceOptions(depends_on=lab.nodes.made))


KINDS: dict[str, ClusterKind] = {
    "embedded": Embedded(),
    "kind": Kind(),
    "existing": Existing(),
}


def kind_of(settings: Settings) -> ClusterKind:
    """The kind of cluster that the stack is to have.

    Raises RunError where the stack has one of another kind, which has to be removed first.
    """
    has = cluster_state.kind_of(settings.stack)
    if has not in ("", settings.cluster):
        raise pulumi.RunError(
            f"configuration key 'cluster': '{settings.cluster}' is not allowed; stack "
            f"{settings.stack} has a cluster of kind {has}; first: make destroy "
            f"STACK={settings.stack}"
        )
    if settings.cluster == "embedded" and settings.node == "host":
        return WithHostNode()
    return KINDS[settings.cluster]


def _made(modules: Sequence[Module], chart: Permissions = ()) -> list[str]:
    """What the graph makes on the cluster, as permissions."""
    found = set(chart)
    for module in modules:
        for namespace in module.namespaces:
            found |= {*manifests.permissions(module.stack, namespace, [RUN])}
    return [str(each) for each in sorted(found)]


def needs_gpu(lab: LabContext) -> bool:
    """A bare cluster needs no driver."""
    return any("driver" in module.requires for module in lab.modules)
