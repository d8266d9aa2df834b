"""The gate on what a DRA driver publishes: what needs its devices waits for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_command import local

from components import program, sources

PUBLISH_SECONDS, SIMULATED_SECONDS = 120, 60
"""On a real node the driver's plugin has to be fetched and started first."""


@dataclass(frozen=True, kw_only=True)
class GateArgs:
    """kubeconfig: path; driver: name by which its devices are known.

    What must be published before the gate opens: on an owned cluster gpus_per_node on each of
    these nodes; on a shared one `target`, the UUID of a GPU, "" for any. memory_limit: what the
    GPUs must have memory for ({mib, clients}), where module 5 is wanted; seconds: how long it
    waits."""

    cluster_owned: bool
    kubeconfig: str
    driver: str
    nodes: pulumi.Input[list[str]]
    gpus_per_node: pulumi.Input[int]
    target: str = ""
    memory_limit: dict[str, int] | None = None
    seconds: int = PUBLISH_SECONDS


def devices_published(
    args: GateArgs,
    namespace: pulumi.Input[str],
    subjects: Sequence[pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
) -> local.Command:
    """The gate, which prints {"uuid"} of the first device. namespace: of the driver's pods;
    subjects: change when the driver was installed anew."""
    given: dict[str, pulumi.Input[Any]] = {
        "stack": pulumi.get_stack(),
        "kubeconfig": args.kubeconfig,
        "namespace": namespace,
        "driver": args.driver,
        "nodes": args.nodes,
        "clusterOwned": args.cluster_owned,
        "gpusPerNode": args.gpus_per_node,
        "target": args.target,
        "seconds": args.seconds,
        "subjects": list(subjects),
        "memoryLimit": args.memory_limit,
        "digest": program.digest(*sources.of_check("driver")),
    }
    return program.run("devices-published", "checks gate-devices", pulumi.Output.all(**given), opts)
