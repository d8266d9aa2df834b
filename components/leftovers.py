"""What the configuration does not name any more is removed before anything is checked.

Pulumi deletes it when all else is done. A smaller lab would never get there: its checks would find
the larger one.
"""

from __future__ import annotations

import pulumi

from components import program
from components.lab_context import LabContext
from components.modules.registry import modules
from components.settings import Settings
from components.settings.cluster import MOST_NODES
from components.simulated_gpus import node_names


def removed(lab: LabContext) -> pulumi.Resource:
    """Done when they are gone: what is checked, and what needs the GPU, waits for it."""
    unwanted = [module for module in modules().values() if module not in lab.modules]
    given = pulumi.Output.all(
        kubeconfig=lab.cluster.kubeconfig,
        nodes=other_nodes(lab.settings),
        namespaces=[namespace for module in unwanted for namespace in module.namespaces],
        labels=dict(lab.cluster.namespace_labels),
    )
    opts = pulumi.ResourceOptions(depends_on=[lab.cluster.provider])
    return program.run("leftovers-removed", "operations leftovers", given, opts)


def other_nodes(settings: Settings) -> list[str]:
    """The simulated nodes that the lab could have and has not; none on clusters that never do."""
    if settings.cluster != "embedded":
        return []
    count = settings.nodes if settings.node == "simulated" else 0
    return node_names(MOST_NODES)[count:]
