"""A cluster that is there, by a context of a kubeconfig. Others use it too: the lab keeps to its
own namespaces, to one GPU, and to the cluster-scoped objects of the driver's chart if it is told
to bring the driver. Attached to and detached from by operations/existing/cluster.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import program
from components.check import Program
from components.dra_driver import INSIDE
from components.drivers import Driver
from kube.ownership import LAB
from machine import cluster_state, identity

NOWHERE = ".run/no-cluster"
"""A kubeconfig that is not there: charts are rendered without a cluster."""
SERVED = [
    "resource.k8s.io/v1",
    "resource.k8s.io/v1/DeviceClass",
    "admissionregistration.k8s.io/v1",
    "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy",
]


@dataclass(frozen=True, kw_only=True)
class ExistingClusterArgs:
    """kubeconfig: "" for kubectl's own choice; driver, chart, plugin, install, target, outside: see
    operations.existing.Specification."""

    kubeconfig: str
    context: str
    driver: str
    chart: str
    plugin: str
    install: bool
    target: str
    outside: pulumi.Input[list[str]]


class ExistingCluster(pulumi.ComponentResource):
    """Implements `components.cluster.Cluster`."""

    owned = False
    kubeconfig: str
    provider: k8s.Provider
    cluster_id: pulumi.Output[str]
    start_id: str
    facts: pulumi.Output[dict[str, Any]]
    disposable: pulumi.Resource | None = None

    def __init__(self, args: ExistingClusterArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("dra-workshop:cluster:ExistingCluster", "cluster", None, opts)
        stack = pulumi.get_stack()
        wanted = {"stack": stack} | {each.name: getattr(args, each.name) for each in fields(args)}
        attached = program.run(
            "cluster",
            "operations existing attach",
            pulumi.Output.all(**wanted),
            pulumi.ResourceOptions(parent=self, depends_on=opts.depends_on),
            delete=f"operations existing detach --stack {stack}",
        )
        self.facts = attached.stdout.apply(identity.parse_facts)
        self.cluster_id = self.facts["cluster_id"]
        self.start_id = cluster_state.of(stack)
        running = program.run(
            "cluster-running",
            "operations existing renew",
            pulumi.Output.all(cluster_id=self.cluster_id, start_id=self.start_id, **wanted),
            pulumi.ResourceOptions(parent=self, depends_on=[attached]),
        )
        self.running: pulumi.Resource = running
        self.kubeconfig = str(Path(".run") / stack / cluster_state.KUBECONFIG)
        self.namespace_labels: Mapping[str, pulumi.Input[str]] = {LAB: self.facts["lab"]}
        self.provider = k8s.Provider(
            "cluster",
            kubeconfig=self.kubeconfig,
            cluster_identifier=self.cluster_id,
            # What is there already is not ours.
            upsert_existing_objects=False,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[running]),
        )
        self.register_outputs({"facts": self.facts})


class ExistingNodes:
    """The node of the target, told as far as it is known. Implements
    `components.lab_context.GpuNodes`."""

    def __init__(self, cluster: ExistingCluster) -> None:
        self.names: pulumi.Input[list[str]] = cluster.facts["looked_at"]
        self.devices: pulumi.Input[str] = cluster.facts["devices"]
        self.subjects: list[pulumi.Output[str]] = [cluster.cluster_id]
        self.made: list[pulumi.Resource] = [cluster.running]
        self.gpus_per_node: pulumi.Input[int] = 0
        self.uuids: pulumi.Input[list[str]] = []
        self.seen: pulumi.Input[list[str]] = []
        self.driver_root: pulumi.Input[str] | None = None
        self.facts: pulumi.Input[dict[str, Any]] = {}
        self.checks: Sequence[Program] = ()


def rendered(
    driver: Driver, chart: str, values: dict[str, Any], kubernetes_version: str
) -> pulumi.Output[list[dict[str, Any]]]:
    """The objects of the driver's chart.

    Rendered by the Kubernetes provider, without a cluster, so that a preview knows it too.
    """
    renderer = k8s.Provider("chart-renderer", kubeconfig=NOWHERE)
    asked = {
        "chart" if chart.startswith("oci://") else "path": chart,
        "release_name": driver.name,
        "namespace": driver.name,
        "values": values,
        "api_versions": SERVED,
        "kube_version": kubernetes_version,
        "skip_crd_rendering": True,
    }
    answered = pulumi.runtime.invoke_output(
        "kubernetes:helm:template",
        {"jsonOpts": json.dumps(asked)},
        pulumi.InvokeOutputOptions(provider=renderer),
    )
    return answered.apply(lambda answer: (answer or {}).get("result") or [])


def outside(objects: list[dict[str, Any]]) -> list[str]:
    """Those that lie in no namespace, each as "apiVersion Kind name"; the renderer writes one on
    all of them."""
    return sorted(
        f"{item['apiVersion']} {item['kind']} {item['metadata']['name']}"
        for item in objects
        if item["kind"] not in INSIDE
    )
