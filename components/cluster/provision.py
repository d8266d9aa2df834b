"""Which cluster and nodes a stack gets, and what this machine has to have for them.

The only place, beside the clusters themselves, that knows what kinds of clusters there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

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
from components.dra_driver import permissions
from components.drivers import values
from components.existing_driver import ExistingDriver, ExistingDriverArgs
from components.gpu_host import GpuHost, GpuHostArgs
from components.gpu_node import SimulatedNodes, SimulatedNodesArgs
from components.lab_context import LabContext
from components.modules.registry import Module
from components.published import GateArgs
from components.settings import Settings
from components.workload import RUN
from kube.ownership import OLDEST
from kube.permissions import Permissions
from machine import cluster_state
from toolchain.images import KIND_IMAGES

IMAGES = Path(".tools/images")
"""Relative, as all that Commands are told: a checkout that was moved can still remove its lab."""

# --- prerequisites -----------------------------------------------------------------------------


def prerequisites(lab: LabContext) -> list[Program]:
    """What module 0 verifies."""
    return PREREQUISITES[lab.settings.cluster](lab)


def _of_embedded(lab: LabContext) -> list[Program]:
    settings = lab.settings
    tools = (
        "prerequisites",
        {
            "stack": settings.stack,
            "kubernetesVersion": settings.kubernetes_version,
            "driverChart": settings.driver_chart,
            "featureGates": list(settings.feature_gates),
            "runtimeConfig": list(settings.runtime_config),
        },
    )
    if settings.node == "simulated":
        return [tools]
    told = {
        "stack": settings.stack,
        "gpu": needs_gpu(lab),
        "networks": asdict(settings.host_networks),
    }
    return [tools, ("host", told)]


def _of_kind(lab: LabContext) -> list[Program]:
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


def _of_existing(lab: LabContext) -> list[Program]:
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
                "outside": lab.outside if lab.outside is not None else [],
                "target": settings.target or "",
                "workloadImage": settings.workload_image,
                "featureGates": list(settings.feature_gates),
            },
        )
    ]


def _made(modules: Sequence[Module], chart: Permissions = ()) -> list[str]:
    """What the graph makes on the cluster, as permissions."""
    found = set(chart)
    for module in modules:
        for namespace in module.namespaces:
            found |= {*manifests.permissions(module.stack, namespace, [RUN])}
    return [str(each) for each in sorted(found)]


def kubernetes_version(lab: LabContext) -> str:
    """What module 1 expects; of a cluster of others the oldest that will do."""
    shared = lab.settings.cluster == "existing"
    return f">={OLDEST}" if shared else lab.settings.kubernetes_version


def needs_gpu(lab: LabContext) -> bool:
    """A bare cluster needs no driver."""
    return any("driver" in module.requires for module in lab.modules)


PREREQUISITES: dict[str, Callable[[LabContext], list[Program]]] = {
    "embedded": _of_embedded,
    "kind": _of_kind,
    "existing": _of_existing,
}


# --- clusters ----------------------------------------------------------------------------------


def provide(lab: LabContext, *after: pulumi.Resource) -> None:
    """Give the site its cluster and nodes."""
    settings = lab.settings
    has = cluster_state.kind_of(settings.stack)
    if has not in ("", settings.cluster):
        raise pulumi.RunError(
            f"configuration key 'cluster': '{settings.cluster}' is not allowed; stack "
            f"{settings.stack} has a cluster of kind {has}; first: make destroy "
            f"STACK={settings.stack}"
        )
    CLUSTERS[lab.settings.cluster](lab, pulumi.ResourceOptions(depends_on=list(after)))


def _embedded(lab: LabContext, opts: pulumi.ResourceOptions) -> None:
    settings = lab.settings
    lab.made_cluster = EmbeddedCluster(
        EmbeddedClusterArgs(
            kubernetes_version=settings.kubernetes_version,
            feature_gates=settings.feature_gates,
            runtime_config=settings.runtime_config,
            # A real driver has something to undo for each claim.
            disposable=settings.node == "simulated",
            networks=settings.host_networks,
        ),
        opts,
    )
    if settings.node == "simulated":
        simulated = SimulatedNodesArgs(count=settings.nodes, gpus=settings.gpus_per_node)
        lab.made_nodes = SimulatedNodes(simulated, lab.objects(None))
    else:
        ready = pulumi.ResourceOptions(depends_on=[lab.cluster.provider])
        lab.made_nodes = HostNode(lab.cluster, settings.host_networks, ready)


def _kind(lab: LabContext, opts: pulumi.ResourceOptions) -> None:
    settings = lab.settings
    host = _gpu_host(settings, opts) if settings.driver == "nvidia" and needs_gpu(lab) else None
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


def _gpu_host(settings: Settings, opts: pulumi.ResourceOptions) -> GpuHost:
    return GpuHost(GpuHostArgs(mounts=settings.gpu_mounts, subsets=settings.gpu_subsets), opts)


def _existing(lab: LabContext, opts: pulumi.ResourceOptions) -> None:
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
            outside=lab.outside if lab.outside is not None else [],
        ),
        opts,
    )
    lab.made_cluster = cluster
    lab.made_nodes = ExistingNodes(cluster)


def driver_there(lab: LabContext) -> ExistingDriver:
    """The driver that the cluster has already."""
    gate = GateArgs(
        kubeconfig=lab.cluster.kubeconfig,
        driver=lab.kind_of_driver.domain,
        nodes=lab.nodes.names,
        gpus_per_node=lab.nodes.gpus_per_node,
        target=lab.settings.target,
        memory_limit=lab.memory_limit,
    )
    found = lab.cluster.facts["driver"]
    args = ExistingDriverArgs(
        driver=lab.kind_of_driver, found=found, cluster_id=lab.cluster.cluster_id, gate=gate
    )
    return ExistingDriver(args, pulumi.ResourceOptions(depends_on=lab.nodes.made))


CLUSTERS: dict[str, Callable[[LabContext, pulumi.ResourceOptions], None]] = {
    "embedded": _embedded,
    "kind": _kind,
    "existing": _existing,
}
