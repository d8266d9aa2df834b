"""Simulated GPU nodes: kwok runs their pods, and their GPUs are described but do not exist.

A node's ResourceSlice is a resource of the stack, shaped as NVIDIA's driver of the configured
version publishes it on a real node. Nothing of the kubelet's side happens: no device is
prepared, no container starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components import manifests
from components.check import Program
from components.gpu_profiles import GpuProfile
from components.simulated_gpus import DRIVER, devices, gpu_uuid, node_names
from kube.devices import SIMULATED

CAPACITY = {"cpu": "64", "memory": "512Gi", "pods": "110"}


@dataclass(frozen=True, kw_only=True)
class SimulatedNodesArgs:
    """count: nodes, called gpu-node-0 and so on; gpus: on each."""

    count: int
    gpus: int


class SimulatedNodes(pulumi.ComponentResource):
    """Nodes that kwok keeps ready, and whose pods it runs, holds and ends.

    Implements `components.lab_context.GpuNodes`. uids: name → uid of the Node object.
    """

    devices: pulumi.Input[str] = SIMULATED
    driver_root: pulumi.Input[str] | None = None
    checks: Sequence[Program] = ()

    def __init__(self, args: SimulatedNodesArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("dra-workshop:node:SimulatedNodes", "nodes", None, opts)
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        names = node_names(args.count)
        nodes = {name: self._node(name, child) for name in names}
        self.names: pulumi.Input[list[str]] = names
        self.uids = {name: manifests.uid(node) for name, node in nodes.items()}
        self.subjects = list(self.uids.values())
        self.made: list[pulumi.Resource] = list(nodes.values())
        self.gpus_per_node: pulumi.Input[int] = args.gpus
        self.seen: pulumi.Input[list[str]] = []
        self.facts: pulumi.Input[dict[str, Any]] = {}
        self.uuids: pulumi.Input[list[str]] = [
            gpu_uuid(names[0], index) for index in range(args.gpus)
        ]
        self.register_outputs({"names": self.names})

    @staticmethod
    def _node(name: str, opts: pulumi.ResourceOptions) -> Any:
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                # The stage node-ready turns the capacity into the node's status.
                "annotations": {"kwok.x-k8s.io/node": "fake"}
                | {f"dra-workshop/{resource}": size for resource, size in CAPACITY.items()},
                "labels": {
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                    # One of the labels that the chart's node affinity asks for.
                    "nvidia.com/gpu.present": "true",
                    "dra-workshop/simulated": "true",
                },
            },
        }
        return manifests.create(node, name, opts)


@dataclass(frozen=True, kw_only=True)
class SimulatedSlicesArgs:
    """nodes: name → uid of the Node; gpus: on each; driver_version: whose shape they have."""

    nodes: dict[str, pulumi.Output[str]]
    gpus: int
    profile: GpuProfile
    driver_version: str


class SimulatedSlices(pulumi.ComponentResource):
    """One ResourceSlice a node, in place of what the kubelet plugin would publish."""

    def __init__(self, args: SimulatedSlicesArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("dra-workshop:node:SimulatedSlices", "slices", None, opts)
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        self.slices = [
            manifests.create(_slice(name, uid, args), f"slice-{name}", child)
            for name, uid in args.nodes.items()
        ]
        self.register_outputs({})


def _slice(node: str, uid: pulumi.Output[str], args: SimulatedSlicesArgs) -> manifests.Manifest:
    # As on a real node, the slice goes when the node goes.
    owner = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid, "controller": True}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": f"{node}-{DRIVER}", "ownerReferences": [owner]},
        "spec": {
            "driver": DRIVER,
            "nodeName": node,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
            "devices": devices(node, args.gpus, args.profile, args.driver_version),
        },
    }
