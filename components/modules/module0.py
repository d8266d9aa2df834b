"""Module 0: what this machine needs, verified before anything is made."""

from __future__ import annotations

import pulumi

from components.check import Check, CheckArgs
from components.site import Chapter, Site


def build(site: Site) -> list[Check]:
    settings = site.settings
    prerequisites = Check(
        CheckArgs(
            program="prerequisites",
            module="0",
            parameters={
                "kubernetesVersion": settings.kubernetes_version,
                "driverChart": settings.driver_chart,
                "featureGates": list(settings.feature_gates),
                "runtimeConfig": list(settings.runtime_config),
            },
        ),
        pulumi.ResourceOptions(parent=Chapter("0")),
    )
    return [prerequisites]
