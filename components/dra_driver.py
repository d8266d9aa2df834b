"""A DRA driver as a Helm release, and the gate on the devices that it publishes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import manifests
from components.drivers import DRIVERS, Driver, attributes, values
from components.published import PUBLISH_SECONDS, SIMULATED_SECONDS, GateArgs, devices_published
from kube.permissions import Permission, Permissions, on, within

INSIDE = frozenset(
    (
        "ConfigMap",
        "DaemonSet",
        "Deployment",
        "Job",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Role",
        "RoleBinding",
        "Secret",
        "Service",
        "ServiceAccount",
        "StatefulSet",
    )
)
"""Kinds that lie in a namespace. Any other that a chart makes is told of: what is told of too much
does no harm."""
HELM = ("create", "get", "delete")
"""What Helm does with each object of a chart."""
RELEASE = on("secrets", "create", "get", "list", "update", "delete")
"""And where it keeps what it knows of a release."""


def permissions(namespace: str, rendered: Iterable[Mapping[str, Any]]) -> Permissions:
    """For bringing the chart, as rendered, into that namespace of its own, and removing it."""
    found: set[Permission] = {*manifests.of_namespace(namespace), *within(namespace, RELEASE)}
    for each in rendered:
        made = manifests.of_kind(each["apiVersion"], each["kind"], HELM)
        found |= {*(within(namespace, made) if each["kind"] in INSIDE else made)}
    return tuple(sorted(found))


@dataclass(frozen=True, kw_only=True)
class DraDriverArgs:
    """driver: a key of DRIVERS; chart: folder or oci:// reference; version: without "v".

    kubeconfig: path; nodes and gpus_per_node: what must be published before the gate opens.
    publishers: the slices, where something else than the chart's plugin publishes them;
    driver_root: see `drivers.values`;
    memory_limit: what the GPUs must have memory for ({mib, clients}), where module 5 is wanted.
    cluster_owned: whether the lab made the cluster; on a shared one the GPU `target` is waited for;
    labels: of the namespace; outside: what the chart makes beside it, where the cluster is shared.
    """

    driver: str
    chart: str
    version: str
    cluster_owned: bool
    kubeconfig: str
    nodes: pulumi.Input[list[str]]
    gpus_per_node: pulumi.Input[int]
    publishers: Sequence[Any] = ()
    driver_root: pulumi.Input[str] | None = None
    memory_limit: dict[str, int] | None = None
    target: str = ""
    labels: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    outside: pulumi.Input[list[str]] = field(default_factory=list)


class DraDriver(pulumi.ComponentResource):
    """The driver in a namespace of its own. Implements `components.lab_context.GpuDriver`."""

    owned = True

    def __init__(self, args: DraDriverArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("dra-workshop:driver:DraDriver", "driver", None, opts)
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        kind = DRIVERS[args.driver]
        # The kubelet plugin is privileged, as it must be.
        labels = {"pod-security.kubernetes.io/enforce": "privileged"} | dict(args.labels)
        metadata = {"name": kind.name, "labels": labels}
        namespace = manifests.create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, "driver", child
        )
        self.namespace: pulumi.Input[str] = kind.name
        self.plugin: pulumi.Input[str] = kind.plugin
        self.version: pulumi.Input[str] = args.version
        self.attributes = attributes(args.driver, args.version)
        self.classes = list(kind.classes)
        release = _release(args, kind, namespace, opts, child)
        self.installed: list[pulumi.Resource] = [release, *args.publishers]
        self.identity: list[pulumi.Output[str]] = [
            release.status["revision"].apply(str),
            *(manifests.uid(slice_) for slice_ in args.publishers),
        ]
        gate = devices_published(
            GateArgs(
                cluster_owned=args.cluster_owned,
                kubeconfig=args.kubeconfig,
                driver=kind.domain,
                nodes=args.nodes,
                gpus_per_node=args.gpus_per_node,
                target=args.target,
                memory_limit=args.memory_limit,
                seconds=SIMULATED_SECONDS if args.publishers else PUBLISH_SECONDS,
            ),
            kind.name,
            self.identity,
            pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=self.installed)),
        )
        self.ready: pulumi.Resource = gate
        self.first_uuid: pulumi.Output[str] = gate.stdout.apply(json.loads)["uuid"]
        # Not one Output: a preview shows what is known of it.
        self.facts: dict[str, pulumi.Input[Any]] = {
            "name": release.name,
            "chart": kind.name,
            "version": release.status["version"],
            "namespace": release.namespace,
        }
        if args.cluster_owned:
            counted = pulumi.Output.all(args.nodes, args.gpus_per_node)
            self.facts["devices"] = counted.apply(lambda each: len(each[0]) * each[1])
        else:
            self.facts["outside"] = args.outside
        self.register_outputs({"facts": self.facts})


def _release(
    args: DraDriverArgs,
    kind: Driver,
    namespace: manifests.KubernetesObject,
    opts: pulumi.ResourceOptions,
    child: pulumi.ResourceOptions,
) -> k8s.helm.v3.Release:
    """The chart, installed into that namespace."""
    return k8s.helm.v3.Release(
        "driver",
        name=kind.name,
        namespace=namespace.metadata["name"],
        chart=args.chart,
        version=args.version,
        values=values(
            args.driver,
            args.version,
            args.gpus_per_node,
            args.driver_root,
            shared=not args.cluster_owned,
        ),
        # Only ComputeDomains have CRDs, and Helm would never remove them.
        skip_crds=True,
        # Helm would look again only every two seconds, and by the chart's own rules a plugin
        # that does not run counts as ready. The gate below waits for what matters: devices.
        skip_await=True,
        opts=pulumi.ResourceOptions.merge(
            child,
            # Such a cluster takes the release away when it goes. When it is made anew the
            # release is not there to be uninstalled, which would be an error.
            pulumi.ResourceOptions(retain_on_delete=opts.deleted_with is not None),
        ),
    )
