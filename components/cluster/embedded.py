"""A real Kubernetes control plane as plain processes of this user, without containers.

etcd, kube-apiserver, kube-scheduler and kube-controller-manager run on loopback ports, kwok
beside them for simulated nodes. All files of the cluster lie in `.run/<stack>/`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import program
from components.cluster import life


@dataclass(frozen=True)
class EmbeddedClusterArgs:
    """kubernetes_version without "v"; gates and API switches as "Name=true" strings."""

    kubernetes_version: str
    feature_gates: tuple[str, ...] = ()
    runtime_config: tuple[str, ...] = ()


class EmbeddedCluster(pulumi.ComponentResource):
    """Implements `components.cluster.Cluster`."""

    kubeconfig: str
    provider: k8s.Provider
    incarnation: pulumi.Output[str]
    life: str
    facts: pulumi.Output[dict[str, Any]]
    disposable: pulumi.Resource | None

    def __init__(self, args: EmbeddedClusterArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("dra-workshop:cluster:EmbeddedCluster", "cluster", None, opts)
        stack = pulumi.get_stack()
        # operations/embedded.py makes a new cluster when any of this changes. That is an update
        # in place, not a replacement: to replace it the engine would first have to delete every
        # object on it, through a provider that it has closed by then (pulumi 3.259.0).
        specification = {
            "stack": stack,
            "kubernetes_version": args.kubernetes_version,
            "feature_gates": list(args.feature_gates),
            "runtime_config": list(args.runtime_config),
            "stages": program.digest(life.STAGES),
        }
        command = program.run(
            "cluster",
            "operations cluster create",
            specification,
            pulumi.ResourceOptions(
                parent=self,
                depends_on=opts.depends_on,
                custom_timeouts=pulumi.CustomTimeouts(create="3m", update="3m", delete="1m"),
            ),
            delete=f"operations cluster down --stack {stack}",
        )
        self.disposable = command
        self.facts = command.stdout.apply(json.loads)
        self.incarnation = self.facts["incarnation"]
        # Not an input of the Command above: a changed input makes its output unknown in a preview,
        # which would show every object on the cluster as replaced.
        self.life = life.of(stack)
        running = program.run(
            "cluster-running",
            "operations cluster revive",
            pulumi.Output.all(stack=stack, incarnation=self.incarnation, life=self.life),
            pulumi.ResourceOptions(
                parent=self,
                depends_on=[command],
                custom_timeouts=pulumi.CustomTimeouts(create="3m", update="3m"),
            ),
        )
        self.kubeconfig = str(Path(".run") / stack / "kubeconfig")
        self.provider = k8s.Provider(
            "cluster",
            kubeconfig=self.kubeconfig,
            # Objects belong to one incarnation of the cluster: on another they are made anew.
            cluster_identifier=self.incarnation,
            # After a kill there may be objects that the state does not know.
            upsert_existing_objects=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[running]),
        )
        self.register_outputs({"facts": self.facts})
