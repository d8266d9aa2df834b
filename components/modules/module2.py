"""Module 2: the DRA driver is installed and every GPU is published."""

from __future__ import annotations

import pulumi

from components.check import Check, CheckArgs
from components.site import Chapter, Site


def build(site: Site) -> list[Check]:
    settings, kind = site.settings, site.kind_of_driver
    published = Check(
        CheckArgs(
            program="driver",
            module="2",
            parameters={
                "kubeconfig": site.cluster.kubeconfig,
                "namespace": site.driver.namespace,
                "chart": kind.name,
                "plugin": site.driver.plugin,
                "driver": kind.domain,
                "classes": site.driver.classes,
                "version": site.driver.version,
                "nodes": site.nodes.names,
                "gpusPerNode": site.nodes.gpus_per_node,
                "attributes": site.driver.attributes,
                "uuids": site.nodes.seen,
                "devices": site.devices,
                "memoryLimit": site.memory_limit,
            }
            | ({"target": settings.target or ""} if site.nodes.gpus_per_node == 0 else {}),
            subjects=[site.cluster.incarnation, *site.driver.identity],
            needs=site.needed_by("2"),
            life=site.cluster.life,
        ),
        # Not after the gate: where it fails, this check tells in detail what is missing.
        pulumi.ResourceOptions(parent=Chapter("2"), depends_on=site.driver.installed),
    )
    return [published]
