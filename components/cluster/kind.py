"""A Kubernetes whose nodes are containers, made by kind, with this machine's GPUs inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components.check import Program
from components.cluster.own import OwnCluster, OwnClusterArgs
from components.gpu_host import GpuHost
from machine import kind_places


@dataclass(frozen=True, kw_only=True)
class KindClusterArgs:
    """kubernetes_version without "v"; gates and API switches as "Name=true" strings; image: of the
    nodes, "" for the one of the version; workers: how many have GPUs; images: archives that every
    node gets; host: what the workers need of this machine's GPU driver, None without GPUs."""

    kubernetes_version: str
    feature_gates: tuple[str, ...]
    runtime_config: tuple[str, ...]
    image: str
    workers: int
    images: tuple[str, ...]
    host: GpuHost | None


class KindCluster(OwnCluster):
    """Made by operations/kind/cluster.py. The driver has something to undo for every claim, on GPUs
    that outlive the cluster; so its objects are removed one by one."""

    def __init__(self, args: KindClusterArgs, opts: pulumi.ResourceOptions) -> None:
        of_host = {"host": args.host.asked} if args.host else {}
        specification = pulumi.Output.all(
            stack=pulumi.get_stack(),
            kubernetes_version=args.kubernetes_version,
            feature_gates=list(args.feature_gates),
            runtime_config=list(args.runtime_config),
            image=args.image,
            images=list(args.images),
            workers=args.host.workers if args.host else [{}] * args.workers,
            **of_host,
        )
        own = OwnClusterArgs(
            group="kind", specification=specification, disposable=False, create="10m"
        )
        super().__init__("KindCluster", own, opts)


class KindNodes:
    """The workers. Implements `components.lab_context.GpuNodes`."""

    def __init__(
        self, cluster: KindCluster, workers: int, mocks: int, devices: str, host: GpuHost | None
    ) -> None:
        self.names: pulumi.Input[list[str]] = kind_places.workers(pulumi.get_stack(), workers)
        self.subjects: list[pulumi.Output[str]] = [cluster.cluster_id]
        self.made: list[pulumi.Resource] = [cluster.running]
        self.driver_root: pulumi.Input[str] | None = None
        self.facts: pulumi.Input[dict[str, Any]] = host.facts if host else {}
        self.devices: pulumi.Input[str] = devices
        self.seen: pulumi.Input[list[str]] = host.uuids if host else []
        self.uuids: pulumi.Input[list[str]] = self.seen
        self.gpus_per_node: pulumi.Input[int] = host.gpus_per_worker if host else mocks
        self.checks: Sequence[Program] = ()
        if host:
            gpus = host.workers.apply(lambda workers: [worker["gpus"] for worker in workers])
            nodes = pulumi.Output.all(self.names, gpus).apply(
                lambda each: dict(zip(*each, strict=True))
            )
            self.checks = [("kind-nodes", {"nodes": nodes})]
