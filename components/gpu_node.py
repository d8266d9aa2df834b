"""Simulated GPU nodes: kwok runs their pods, and their GPUs are described but do not exist.

A node's ResourceSlice is a resource of the stack, shaped as NVIDIA's driver of the configured
version publishes it on a real node. Nothing of the kubelet's side happens: no device is
prepared, no container starts.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import semver

from components import manifests
from components.check import Program
from components.gpu_profiles import GPU_PROFILES, GpuProfile
from kube.devices import SIMULATED

DRIVER = "gpu.nvidia.com"
NVIDIA_DRIVER = ("580.159.4", "13.0.0")
"""Versions of the GPU driver and of CUDA that simulated GPUs report: those of the real H200
whose slice is the model. (The driver prints them as semantic versions, so .04 becomes .4.)"""
CAPACITY = {"cpu": "64", "memory": "512Gi", "pods": "110"}
_NAMESPACE = uuid.UUID("5a0d2c1e-6f4b-4a3e-9c57-2f1d8e7b6a90")
"""UUIDs of simulated GPUs are derived from this, so that manifests may name them."""


def node_names(count: int) -> list[str]:
    return [f"gpu-node-{index}" for index in range(count)]


def gpu_uuid(node: str, index: int) -> str:
    """The UUID of a simulated GPU; the same in every stack."""
    return f"GPU-{uuid.uuid5(_NAMESPACE, f'{node}/gpu-{index}')}"


def attribute_names(driver_version: str) -> list[str]:
    """The attributes that a GPU has under a version of NVIDIA's driver, sorted."""
    any_profile = next(iter(GPU_PROFILES.values()))
    return sorted(_attributes("", 0, any_profile, driver_version))


def devices(
    node: str, count: int, profile: GpuProfile, driver_version: str
) -> list[dict[str, Any]]:
    """The devices of one node's ResourceSlice, as NVIDIA's driver of that version writes them.

    Names and types of the attributes: cmd/gpu-kubelet-plugin/deviceinfo.go of the driver, and a
    real slice of 0.4.1.
    """
    return [
        {
            "name": f"gpu-{index}",
            "attributes": _attributes(node, index, profile, driver_version),
            "capacity": {"memory": {"value": f"{profile.memory_mib}Mi"}},
        }
        for index in range(count)
    ]


def _attributes(
    node: str, index: int, profile: GpuProfile, driver_version: str
) -> dict[str, dict[str, str | int]]:
    driver, cuda = NVIDIA_DRIVER
    attributes: dict[str, dict[str, str | int]] = {
        "addressingMode": {"string": profile.addressing_mode},
        "architecture": {"string": profile.architecture},
        "brand": {"string": profile.brand},
        "cudaComputeCapability": {"version": f"{profile.compute_capability}.0"},
        "cudaDriverVersion": {"version": cuda},
        "driverVersion": {"version": driver},
        "productName": {"string": profile.product},
        "resource.kubernetes.io/pciBusID": {"string": f"0000:{index + 6:02x}:00.0"},
        "resource.kubernetes.io/pcieRoot": {"string": f"pci0000:{index + 6:02x}"},
        "type": {"string": "gpu"},
        "uuid": {"string": gpu_uuid(node, index)},
    }
    if semver.Version.parse(driver_version) >= semver.Version(0, 5, 0):
        attributes["resource.kubernetes.io/numaNode"] = {"int": index % 2}
    return attributes


@dataclass(frozen=True)
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


@dataclass(frozen=True)
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
