"""Simulated GPU nodes: kwok runs their pods, and their GPUs are described but do not exist.

A node's ResourceSlice is a resource of the stack, shaped as NVIDIA's driver of the configured
version publishes it on a real node. Nothing of the kubelet's side happens: no device is
prepared, no container starts.
"""

from collections.abc import Sequence

import pulumi

from components.lab_context import GpuNodes
from components.manifests import KubernetesObject, Manifest
from components.settings import Settings
from components.simulated_gpus import DRIVER, devices, gpu_uuid, node_names
from kube.devices import SIMULATED

CAPACITY = {"cpu": "64", "memory": "512Gi", "pods": "110"}


class SimulatedNodes(pulumi.ComponentResource):
    """Nodes that kwok keeps ready, and whose pods it runs, holds and ends.

    Their subjects are the uids of the Node objects.
    """

    def __init__(self, settings: Settings, opts: pulumi.ResourceOptions) -> None:
        super().__init__("dra-workshop:node:SimulatedNodes", "nodes", None, opts)
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        names = node_names(settings.nodes)
        made = [KubernetesObject(_node(name), name, child) for name in names]
        self.nodes = GpuNodes(
            names=names,
            devices=SIMULATED,
            subjects=[node.uid for node in made],
            made=[*made],
            gpus_per_node=settings.gpus_per_node,
            uuids=[gpu_uuid(names[0], index) for index in range(settings.gpus_per_node)],
        )
        self.register_outputs({"names": names})


def _node(name: str) -> Manifest:
    # The stage node-ready turns the capacity into the node's status.
    capacity = {f"dra-workshop/{resource}": size for resource, size in CAPACITY.items()}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"} | capacity,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                # One of the labels that the chart's node affinity asks for.
                "nvidia.com/gpu.present": "true",
                "dra-workshop/simulated": "true",
            },
        },
    }


class SimulatedSlices(pulumi.ComponentResource):
    """One ResourceSlice a node, in place of what the kubelet plugin would publish.

    uids: of the Node objects.
    """

    def __init__(
        self, settings: Settings, uids: Sequence[pulumi.Output[str]], opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("dra-workshop:node:SimulatedSlices", "slices", None, opts)
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        self.slices = [
            KubernetesObject(_slice(settings, name, uid), f"slice-{name}", child)
            for name, uid in zip(node_names(settings.nodes), uids, strict=True)
        ]
        self.register_outputs({})


def _slice(settings: Settings, node: str, uid: pulumi.Output[str]) -> Manifest:
    gpus, profile, version = settings.gpus_per_node, settings.gpu_profile, settings.driver_version
    shares = settings.consumable_shares
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
            "devices": devices(node, gpus, profile, version, shares),
        },
    }
