"""A DRA driver that is on the cluster already: nothing is installed, only its device awaited."""

import pulumi

from components.dra_driver import devices_published
from components.lab_context import GpuDriver, LabContext


class ExistingDriver(pulumi.ComponentResource):
    """driver: where it was found (operations/existing), with its gate."""

    def __init__(self, lab: LabContext) -> None:
        nodes, kind, found = lab.nodes.made, lab.kind_of_driver, lab.cluster.facts["driver"]
        opts = pulumi.ResourceOptions(depends_on=nodes)
        super().__init__("dra-workshop:driver:ExistingDriver", "driver", None, opts)
        namespace, identity = found["namespace"], [lab.cluster.cluster_id]
        gate, gpu = devices_published(
            lab, namespace, identity, pulumi.ResourceOptions(parent=self, depends_on=nodes)
        )
        self.driver = GpuDriver(
            owned=False,
            namespace=namespace,
            plugin=found["plugin"],
            classes=list(kind.classes[:1]),
            installed=list(nodes),
            identity=identity,
            ready=gate,
            gpu=gpu,
            facts={
                "chart": kind.name,
                "version": found["version"],
                "namespace": namespace,
                "installed": False,
            },
        )
        self.register_outputs({"facts": self.driver.facts})
