"""Module 1: a cluster that serves DRA, with its nodes ready."""

from __future__ import annotations

import pulumi

from components.check import Check, CheckArgs
from components.site import Chapter, Site


def build(site: Site) -> list[Check]:
    settings = site.settings
    ready = Check(
        CheckArgs(
            program="cluster",
            module="1",
            parameters={
                "kubeconfig": site.cluster.kubeconfig,
                "kubernetesVersion": settings.kubernetes_version,
                "featureGates": list(settings.feature_gates),
                "runtimeConfig": list(settings.runtime_config),
                "nodes": site.nodes.names,
                "simulated": site.simulated,
            },
            subjects=[site.cluster.incarnation, *site.nodes.subjects],
            needs=site.needed_by("1"),
            life=site.cluster.life,
        ),
        pulumi.ResourceOptions(parent=Chapter("1"), depends_on=site.nodes.made),
    )
    return [ready]
