"""This machine as a node of an embedded cluster: a real kubelet, with its own GPUs or mocked ones.

operations/host_node/node.py makes it; nothing of it runs in a container, and all of it goes when
the stack is destroyed."""

from dataclasses import asdict
from typing import Any

import pulumi

from components import program
from components.check import Program
from components.cluster.base import ClusterKind
from components.cluster.embedded import control_plane, control_plane_tools
from components.lab_context import GpuNodes, LabContext
from kube.devices import GPU, MOCKED
from machine import host_places, identity


class WithHostNode(ClusterKind):
    """The control plane of an embedded cluster, with this machine as its node."""

    runs_webhook = True

    def prerequisites(self, lab: LabContext) -> list[Program]:
        settings = lab.settings
        networks = asdict(settings.host_networks)
        gpus = "mocked" if lab.mocked else "real"
        host = {"stack": settings.stack, "gpu": lab.needs_driver, "gpus": gpus}
        host["networks"] = networks
        return [control_plane_tools(settings), ("host", host)]

    def provide(self, lab: LabContext, opts: pulumi.ResourceOptions) -> None:
        # A real driver has something to undo for each claim.
        lab.cluster = control_plane(lab.settings, opts, disposable=False)
        ready = pulumi.ResourceOptions(depends_on=[lab.cluster.provider])
        lab.nodes = HostNode(lab, ready).nodes


class HostNode(pulumi.ComponentResource):
    """The machine as a node, which belongs to one cluster: for another one it is made anew."""

    def __init__(self, lab: LabContext, opts: pulumi.ResourceOptions) -> None:
        super().__init__("dra-workshop:cluster:HostNode", "node", None, opts)
        stack, gpus = pulumi.get_stack(), lab.mocked_gpus(host_places.NODE)
        cluster, networks = lab.cluster, asdict(lab.settings.host_networks)
        node = program.run(
            "node",
            "operations node make",
            pulumi.Output.all(
                stack=stack, cluster=cluster.cluster_id, networks=networks, mocked=gpus
            ),
            pulumi.ResourceOptions(
                parent=self,
                depends_on=opts.depends_on,
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
        uuids = facts.apply(lambda found: [gpu["uuid"] for gpu in found["gpus"]])
        self.nodes = GpuNodes(
            names=[host_places.NODE],
            devices=MOCKED if lab.mocked else GPU,
            subjects=[facts["cluster_id"]],
            made=[running],
            gpus_per_node=uuids.apply(len),
            uuids=uuids,
            seen=uuids,
            driver_root=facts["driverRoot"],
            facts=facts,
            mocked=lab.mocked_devices([host_places.NODE]),
        )
        self.register_outputs({"facts": facts})
