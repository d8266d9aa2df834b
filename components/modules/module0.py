"""Module 0: what this machine needs, verified before anything is made."""

from __future__ import annotations

import pulumi

from components.check import Check, CheckArgs
from components.cluster.provision import prerequisites
from components.site import Chapter, Site


def build(site: Site) -> list[Check]:
    chapter = Chapter("0")
    return [
        Check(
            CheckArgs(program=program, module="0", parameters=parameters),
            pulumi.ResourceOptions(parent=chapter),
        )
        for program, parameters in prerequisites(site)
    ]
