"""A real Kubernetes control plane as plain processes of this user, without containers.

etcd, kube-apiserver, kube-scheduler and kube-controller-manager run on loopback ports, kwok
beside them for simulated nodes. All files of the cluster lie in `.run/<stack>/`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import pulumi

from components import program
from components.cluster.own import OwnCluster, OwnClusterArgs
from machine import cluster_state
from machine.host_networks import Networks


@dataclass(frozen=True, kw_only=True)
class EmbeddedClusterArgs:
    """kubernetes_version without "v"; gates and API switches as "Name=true" strings; disposable:
    see OwnClusterArgs; networks: what a host node of it uses."""

    kubernetes_version: str
    feature_gates: tuple[str, ...] = ()
    runtime_config: tuple[str, ...] = ()
    disposable: bool = True
    networks: Networks = field(default_factory=Networks)


class EmbeddedCluster(OwnCluster):
    """Made by operations/embedded/cluster.py."""

    def __init__(self, args: EmbeddedClusterArgs, opts: pulumi.ResourceOptions) -> None:
        specification = {
            "stack": pulumi.get_stack(),
            "kubernetes_version": args.kubernetes_version,
            "feature_gates": list(args.feature_gates),
            "runtime_config": list(args.runtime_config),
            "networks": asdict(args.networks),
            "stages": program.digest(cluster_state.STAGES),
            "recipe": cluster_state.RECIPE,
        }
        own = OwnClusterArgs(
            group="cluster", specification=specification, disposable=args.disposable, create="3m"
        )
        super().__init__("EmbeddedCluster", own, opts)
