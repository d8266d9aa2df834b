"""A real Kubernetes control plane as plain processes of this user, without containers.

etcd, kube-apiserver, kube-scheduler and kube-controller-manager run on loopback ports, kwok
beside them for simulated nodes. All files of the cluster lie in `.run/<stack>/`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import program


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
    facts: pulumi.Output[dict[str, Any]]
    disposable: pulumi.Resource | None

    def __init__(self, args: EmbeddedClusterArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("dra-workshop:cluster:EmbeddedCluster", "cluster", None, opts)
        stack = pulumi.get_stack()
        specification = {
            "stack": stack,
            "kubernetesVersion": args.kubernetes_version,
            "featureGates": list(args.feature_gates),
            "runtimeConfig": list(args.runtime_config),
        }
        # Whatever is in the specification forces a new cluster, and nothing else does.
        digest = hashlib.sha256(json.dumps(specification, sort_keys=True).encode()).hexdigest()
        command = program.run(
            "cluster",
            "operations cluster create",
            specification,
            pulumi.ResourceOptions(
                parent=self,
                depends_on=opts.depends_on,
                delete_before_replace=True,
                custom_timeouts=pulumi.CustomTimeouts(create="3m", delete="1m"),
            ),
            delete=f"operations cluster delete --stack {stack}",
            triggers=[digest[:12]],
        )
        self.disposable = command
        self.facts = command.stdout.apply(json.loads)
        self.incarnation = self.facts["incarnation"]
        self.kubeconfig = str(Path(".run") / stack / "kubeconfig")
        self.provider = k8s.Provider(
            "cluster",
            kubeconfig=self.kubeconfig,
            cluster_identifier=pulumi.Output.concat(digest[:12], "-", self.incarnation),
            upsert_existing_objects=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[command]),
        )
        self.register_outputs({"facts": self.facts})
