"""Module 2: NVIDIA's driver is installed and every GPU is published."""

from __future__ import annotations

import pulumi

from components import gpu_node
from components.check import Check, CheckArgs
from components.site import Chapter, Site


def build(site: Site) -> list[Check]:
    settings = site.settings
    published = Check(
        CheckArgs(
            program="driver",
            module="2",
            parameters={
                "kubeconfig": site.cluster.kubeconfig,
                "namespace": site.driver.namespace,
                "version": settings.driver_version,
                "nodes": site.nodes.names,
                "gpusPerNode": site.nodes.gpus_per_node,
                "attributes": gpu_node.attribute_names(settings.driver_version),
                "uuids": site.host.uuids if site.host else [],
                "simulated": site.simulated,
                "memoryLimit": site.memory_limit,
            },
            subjects=[site.cluster.incarnation, *site.driver.identity],
            needs=site.needed_by("2"),
            life=site.cluster.life,
        ),
        # Not after the gate: where it fails, this check tells in detail what is missing.
        pulumi.ResourceOptions(parent=Chapter("2"), depends_on=site.driver.installed),
    )
    return [published]
