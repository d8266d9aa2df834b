"""The gate on what a DRA driver publishes: what needs its devices waits for them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pulumi
from pulumi_command import local

from components import program, sources
from components.lab_context import LabContext

PUBLISH_SECONDS, SIMULATED_SECONDS = 120, 60
"""On a real node the driver's plugin has to be fetched and started first."""


def devices_published(
    lab: LabContext,
    namespace: pulumi.Input[str],
    subjects: Sequence[pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
    seconds: int = PUBLISH_SECONDS,
) -> tuple[local.Command, pulumi.Output[str]]:
    """The gate, and the UUID of the first device.

    On an owned cluster every GPU of the nodes must be published before it opens, on a shared one
    the target. namespace: of the driver's pods; subjects: change when the driver was installed
    anew; seconds: how long the gate waits.
    """
    given = pulumi.Output.all(
        stack=lab.settings.stack,
        kubeconfig=lab.cluster.kubeconfig,
        namespace=namespace,
        driver=lab.kind_of_driver.domain,
        nodes=lab.nodes.names,
        clusterOwned=lab.cluster.owned,
        gpusPerNode=lab.nodes.gpus_per_node,
        target=lab.settings.target,
        seconds=seconds,
        subjects=list(subjects),
        memoryLimit=lab.memory_limit,
        digest=program.digest(*sources.of_check("driver")),
    )
    gate = program.run("devices-published", "checks gate-devices", given, opts)
    return gate, gate.stdout.apply(json.loads)["uuid"]
