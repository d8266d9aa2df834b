"""A real Kubernetes control plane as plain processes of this user, without containers.

etcd, kube-apiserver, kube-scheduler and kube-controller-manager run on loopback ports, kwok
beside them for simulated nodes. All files of the cluster lie in `.run/<stack>/`. Made by
operations/embedded/cluster.py.
"""

from dataclasses import asdict

import pulumi

from components import program
from components.check import Program
from components.cluster.base import ClusterKind
from components.cluster.cluster import Cluster
from components.dra_driver import DraDriver
from components.drivers import gate_list
from components.gpu_node import SimulatedNodes, SimulatedSlices
from components.lab_context import GpuDriver, LabContext
from components.settings import Settings
from machine import cluster_state


class Embedded(ClusterKind):
    """The control plane with simulated nodes."""

    runs_webhook = True

    def prerequisites(self, lab: LabContext) -> list[Program]:
        return [control_plane_tools(lab.settings)]

    def provide(self, lab: LabContext, opts: pulumi.ResourceOptions) -> None:
        lab.cluster = control_plane(lab.settings, opts, disposable=True)
        lab.nodes = SimulatedNodes(lab.settings, lab.objects(None)).nodes

    def driver(self, lab: LabContext) -> GpuDriver:
        slices = SimulatedSlices(lab.settings, lab.nodes.subjects, lab.objects(None)).slices
        return DraDriver(lab, publishers=slices).driver


def control_plane_tools(settings: Settings) -> Program:
    """What module 0 verifies for a control plane as processes."""
    return "prerequisites", {
        "stack": settings.stack,
        "kubernetesVersion": settings.kubernetes_version,
        "driverChart": settings.driver_chart,
        "featureGates": list(settings.feature_gates),
        "runtimeConfig": list(settings.runtime_config),
    }


def control_plane(settings: Settings, opts: pulumi.ResourceOptions, *, disposable: bool) -> Cluster:
    """disposable: whether its objects go with it, because nothing has to be undone for them."""
    return Cluster(
        "EmbeddedCluster",
        opts,
        create="cluster create",
        restart="cluster revive",
        remove="cluster down",
        specification={
            "stack": settings.stack,
            "kubernetes_version": settings.kubernetes_version,
            "feature_gates": list(settings.feature_gates),
            "runtime_config": list(settings.runtime_config),
            "networks": asdict(settings.host_networks),
            "stages": program.digest(cluster_state.STAGES),
            "recipe": cluster_state.RECIPE,
        },
        # Those of the driver: both refuse what belongs to a gate that is off.
        running={"webhook_gates": gate_list(settings.driver_version, settings.consumable_shares)},
        disposable=disposable,
        timeout="3m",
    )
