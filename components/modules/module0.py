"""Module 0: what this machine needs, verified before anything is made."""

from __future__ import annotations

import pulumi

from components.check import Check, CheckArgs
from components.site import Chapter, Site


def build(site: Site) -> list[Check]:
    settings = site.settings
    chapter = Chapter("0")
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
        pulumi.ResourceOptions(parent=chapter),
    )
    if site.simulated:
        return [prerequisites]
    host = Check(
        CheckArgs(
            program="host",
            module="0",
            parameters={"stack": settings.stack, "gpu": any(need == "2" for need in site.modules)},
        ),
        pulumi.ResourceOptions(parent=chapter),
    )
    return [prerequisites, host]
