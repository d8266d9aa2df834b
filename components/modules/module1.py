"""Module 1: a cluster that serves DRA, with its nodes ready."""

from __future__ import annotations

import pulumi

from components.check import Check, CheckArgs, Program
from components.cluster.provision import kubernetes_version
from components.site import Chapter, Site


def build(site: Site) -> list[Check]:
    settings = site.settings
    chapter = Chapter("1")
    ready: Program = (
        "cluster",
        {
            "kubeconfig": site.cluster.kubeconfig,
            "kubernetesVersion": kubernetes_version(site),
            "featureGates": list(settings.feature_gates),
            "runtimeConfig": list(settings.runtime_config),
            "nodes": site.nodes.names,
            "simulated": site.simulated,
        },
    )
    return [
        Check(
            CheckArgs(
                program=program,
                module="1",
                parameters=parameters,
                subjects=[site.cluster.incarnation, *site.nodes.subjects],
                needs=site.needed_by("1"),
                life=site.cluster.life,
            ),
            pulumi.ResourceOptions(parent=chapter, depends_on=site.nodes.made),
        )
        for program, parameters in (ready, *site.nodes.checks)
    ]
