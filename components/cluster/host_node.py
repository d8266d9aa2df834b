"""This machine as a node of an embedded cluster: a real kubelet, with the machine's own GPUs.

operations/host_node.py makes it; nothing of it runs in a container, and all of it goes when the
stack is destroyed.
"""

from __future__ import annotations

import json
from typing import Any

import pulumi

from components import program
from components.cluster import Cluster, host_places


class HostNode(pulumi.ComponentResource):
    """Implements `components.site.GpuNodes`.

    facts: what the stack exports; driver_root: where NVIDIA's plugin finds the GPU driver.
    """

    def __init__(self, cluster: Cluster, opts: pulumi.ResourceOptions) -> None:
        super().__init__("dra-workshop:cluster:HostNode", "node", None, opts)
        stack = pulumi.get_stack()
        node = program.run(
            "node",
            "operations node make",
            pulumi.Output.all(stack=stack, cluster=cluster.incarnation),
            pulumi.ResourceOptions(
                parent=self,
                depends_on=opts.depends_on,
                # A changed cluster takes the node's place in it away, so the node is made anew.
                custom_timeouts=pulumi.CustomTimeouts(create="5m", update="5m", delete="2m"),
            ),
            delete=f"operations node remove --stack {stack}",
        )
        self.facts: pulumi.Output[dict[str, Any]] = node.stdout.apply(json.loads)
        running = program.run(
            "node-running",
            "operations node revive",
            pulumi.Output.all(
                stack=stack, incarnation=self.facts["incarnation"], life=cluster.life
            ),
            pulumi.ResourceOptions(
                parent=self,
                depends_on=[node],
                custom_timeouts=pulumi.CustomTimeouts(create="3m", update="3m"),
            ),
        )
        self.names = [host_places.NODE]
        self.subjects: list[pulumi.Output[str]] = [self.facts["incarnation"]]
        self.made: list[pulumi.Resource] = [running]
        uuids = self.facts.apply(lambda facts: [gpu["uuid"] for gpu in facts["gpus"]])
        self.uuids: list[str] | pulumi.Output[list[str]] = uuids
        self.gpus_per_node: pulumi.Input[int] = uuids.apply(len)
        self.driver_root: pulumi.Output[str] = self.facts["driverRoot"]
        self.register_outputs({"facts": self.facts})
