"""This machine as a node of an embedded cluster: a real kubelet, with the machine's own GPUs.

operations/host_node/node.py makes it; nothing of it runs in a container, and all of it goes when
the stack is destroyed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pulumi

from components import program
from components.check import Program
from components.cluster import Cluster
from kube.devices import GPU
from machine import host_places, identity
from machine.host_networks import Networks


class HostNode(pulumi.ComponentResource):
    """Implements `components.lab_context.GpuNodes`.

    facts: what the stack exports; driver_root: where NVIDIA's plugin finds the GPU driver.
    """

    def __init__(self, cluster: Cluster, networks: Networks, opts: pulumi.ResourceOptions) -> None:
        super().__init__("dra-workshop:cluster:HostNode", "node", None, opts)
        stack = pulumi.get_stack()
        node = program.run(
            "node",
            "operations node make",
            pulumi.Output.all(stack=stack, cluster=cluster.cluster_id, networks=asdict(networks)),
            pulumi.ResourceOptions(
                parent=self,
                depends_on=opts.depends_on,
                # A node belongs to one cluster: for another one it is made anew.
                custom_timeouts=pulumi.CustomTimeouts(create="5m", update="5m", delete="2m"),
            ),
            delete=f"operations node remove --stack {stack}",
        )
        facts: pulumi.Output[dict[str, Any]] = node.stdout.apply(identity.parse_facts)
        running = program.run(
            "node-running",
            "operations node revive",
            pulumi.Output.all(
                stack=stack, cluster_id=facts["cluster_id"], start_id=cluster.start_id
            ),
            pulumi.ResourceOptions(
                parent=self,
                depends_on=[node],
                custom_timeouts=pulumi.CustomTimeouts(create="3m", update="3m"),
            ),
        )
        self.names: pulumi.Input[list[str]] = [host_places.NODE]
        self.devices: pulumi.Input[str] = GPU
        self.checks: Sequence[Program] = ()
        self.facts: pulumi.Input[dict[str, Any]] = facts
        self.subjects: list[pulumi.Output[str]] = [facts["cluster_id"]]
        self.made: list[pulumi.Resource] = [running]
        uuids = facts.apply(lambda found: [gpu["uuid"] for gpu in found["gpus"]])
        self.uuids: pulumi.Input[list[str]] = uuids
        self.seen: pulumi.Input[list[str]] = uuids
        self.gpus_per_node: pulumi.Input[int] = uuids.apply(len)
        self.driver_root: pulumi.Input[str] | None = facts["driverRoot"]
        self.register_outputs({"facts": self.facts})
