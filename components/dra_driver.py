"""NVIDIA's DRA driver as a Helm release, and the gate on the devices that it publishes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import semver

from components import manifests, program

NAME = "dra-driver-nvidia-gpu"
"""Of the chart, the release and, as NVIDIA's documents have it, the namespace."""
PUBLISH_SECONDS = 120


def values(version: str, driver_root: pulumi.Input[str] | None = None) -> dict[str, Any]:
    """The chart's values for a lab with GPUs and without ComputeDomains.

    computeDomains off: they need a newer GPU driver and an NVLink fabric. MPSSupport brings the
    RBAC rules for the MPS daemons. Up to 0.4 an MPS claim leaves the GPU in EXCLUSIVE_PROCESS
    mode unless TimeSlicingSettings is on too (NVIDIA's driver, pull request 1270).
    driver_root: folder of the node under which the GPU driver lies as distributions have it, None
    for the chart's own, "/".
    """
    gates = {"MPSSupport": True}
    if semver.Version.parse(version) < semver.Version(0, 5, 0):
        gates["TimeSlicingSettings"] = True
    root = {} if driver_root is None else {"nvidiaDriverRoot": driver_root}
    return root | {
        "gpuResourcesEnabledOverride": True,
        "resources": {"computeDomains": {"enabled": False}},
        "featureGates": gates,
    }


@dataclass(frozen=True)
class DraDriverArgs:
    """chart: folder or oci:// reference; version: of the driver, without "v".

    kubeconfig: path; nodes and gpus_per_node: what must be published before the gate opens.
    publishers: the slices, where something else than the chart's plugin publishes them;
    driver_root: see `values`;
    memory_limit: what the GPUs must have memory for ({mib, clients}), where module 5 is wanted.
    """

    chart: str
    version: str
    kubeconfig: str
    nodes: Sequence[str]
    gpus_per_node: pulumi.Input[int]
    publishers: Sequence[Any] = ()
    driver_root: pulumi.Input[str] | None = None
    memory_limit: dict[str, int] | None = None


class DraDriver(pulumi.ComponentResource):
    """The driver in a namespace of its own.

    namespace: its name; installed: the resources that bring the driver and its slices;
    identity: changes when one of them was made anew; ready: depend on it for nodes that are ready
    and devices that are published;
    facts: what the stack exports.
    """

    def __init__(self, args: DraDriverArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("dra-workshop:driver:DraDriver", "driver", None, opts)
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        # The kubelet plugin is privileged, as it must be.
        labels = {"pod-security.kubernetes.io/enforce": "privileged"}
        namespace = k8s.core.v1.Namespace(
            "driver", metadata={"name": NAME, "labels": labels}, opts=child
        )
        self.namespace = NAME
        release = k8s.helm.v3.Release(
            "driver",
            name=NAME,
            namespace=namespace.metadata["name"],
            chart=args.chart,
            version=args.version,
            values=values(args.version, args.driver_root),
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
        self.installed: list[pulumi.Resource] = [release, *args.publishers]
        self.identity = [
            release.status["revision"].apply(str),
            *(manifests.uid(slice_) for slice_ in args.publishers),
        ]
        self.ready = program.run(
            "devices-published",
            "checks gate-devices",
            pulumi.Output.all(
                kubeconfig=args.kubeconfig,
                namespace=NAME,
                nodes=list(args.nodes),
                gpusPerNode=args.gpus_per_node,
                seconds=PUBLISH_SECONDS,
                subjects=self.identity,
                memoryLimit=args.memory_limit,
                digest=program.digest(Path("checks")),
            ),
            pulumi.ResourceOptions.merge(
                child,
                pulumi.ResourceOptions(depends_on=self.installed),
            ),
        )
        self.facts: pulumi.Output[dict[str, Any]] = pulumi.Output.all(
            name=release.name,
            chart=NAME,
            version=release.status["version"],
            namespace=release.namespace,
            devices=pulumi.Output.from_input(args.gpus_per_node).apply(
                lambda gpus: len(args.nodes) * gpus
            ),
        )
        self.register_outputs({"facts": self.facts})
