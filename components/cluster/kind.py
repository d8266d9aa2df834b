"""A Kubernetes whose nodes are containers, made by kind, with this machine's GPUs inside.

Made by operations/kind/cluster.py. The driver has something to undo for every claim, on GPUs that
outlive the cluster; so its objects are removed one by one.
"""

from pathlib import Path
from typing import Any

import pulumi

from components.check import Program
from components.cluster.base import ClusterKind
from components.cluster.cluster import Cluster
from components.gpu_host import GpuHost
from components.lab_context import GpuNodes, LabContext
from kube.devices import MOCKED
from machine import kind_places
from toolchain.images import DRIVER, EXAMPLE, WORKLOAD

IMAGES = Path(".tools/images")
"""Relative, as all paths that Commands get: a checkout that was moved can still remove its lab."""


class Kind(ClusterKind):
    """Containers of Docker, with this machine's GPUs inside, or mocked ones."""

    def prerequisites(self, lab: LabContext) -> list[Program]:
        settings = lab.settings
        parameters = {
            "stack": settings.stack,
            "kubernetesVersion": settings.kubernetes_version,
            "driver": settings.driver,
            "gpu": lab.needs_driver,
            "mocked": settings.gpus == "mocked",
            "driverChart": settings.driver_chart if lab.needs_driver else "",
            "nodeImage": settings.node_image,
            "strategy": settings.gpu_mounts,
            "gpus": [str(index) for subset in settings.gpu_subsets for index in subset],
            "workers": settings.nodes,
            "strict": settings.strict,
        }
        return [("workstation", parameters)]

    def provide(self, lab: LabContext, opts: pulumi.ResourceOptions) -> None:
        settings = lab.settings
        real = settings.gpus == "real" and lab.needs_driver and settings.driver == "nvidia"
        host = GpuHost(settings, opts) if real else None
        images = (WORKLOAD, EXAMPLE if settings.driver == "example" else DRIVER)
        lab.cluster = Cluster(
            "KindCluster",
            opts,
            create="kind create",
            restart="kind revive",
            remove="kind down",
            specification={
                "stack": settings.stack,
                "kubernetes_version": settings.kubernetes_version,
                "feature_gates": list(settings.feature_gates),
                "runtime_config": list(settings.runtime_config),
                "image": settings.node_image,
                "images": [str(IMAGES / image.file) for image in images],
                "workers": host.workers if host else _own_workers(lab),
                **({"host": host.asked} if host else {}),
            },
            timeout="10m",
        )
        lab.nodes = _workers(lab, host)
        if lab.mocked:
            _have_mocked(lab)


def _have_mocked(lab: LabContext) -> None:
    nodes, settings = lab.nodes, lab.settings
    names = kind_places.workers(settings.stack, settings.nodes)
    nodes.devices, nodes.driver_root = MOCKED, kind_places.MOCKED_DRIVER
    nodes.uuids = [gpu["uuid"] for gpu in lab.mocked_gpus(names[0])]
    nodes.mocked = lab.mocked_devices(names)


def _own_workers(lab: LabContext) -> list[dict[str, Any]]:
    """What each worker needs that has no GPU of this machine: mocked ones, or none."""
    nodes = kind_places.workers(lab.settings.stack, lab.settings.nodes)
    return [{"mocked": lab.mocked_gpus(node)} if lab.mocked else {} for node in nodes]


def _workers(lab: LabContext, host: GpuHost | None) -> GpuNodes:
    settings = lab.settings
    nodes = GpuNodes(
        names=kind_places.workers(settings.stack, settings.nodes),
        devices=lab.kind_of_driver.devices,
        subjects=[lab.cluster.cluster_id],
        made=[lab.cluster.running],
        gpus_per_node=settings.gpus_per_node,
    )
    if host:
        gpus = host.workers.apply(lambda workers: [worker["gpus"] for worker in workers])
        by_node = pulumi.Output.all(nodes.names, gpus).apply(
            lambda each: dict(zip(*each, strict=True))
        )
        nodes.checks = [("kind-nodes", {"nodes": by_node})]
        nodes.facts, nodes.gpus_per_node = host.facts, host.gpus_per_worker
        nodes.uuids = nodes.seen = host.uuids
    return nodes
