"""A DRA driver that is on the cluster already: nothing is installed, only its device awaited."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pulumi

from components.drivers import Driver
from components.published import GateArgs, devices_published


@dataclass(frozen=True, kw_only=True)
class ExistingDriverArgs:
    """driver: which it is; found: where it was found (operations.existing); cluster id: of the
    cluster; gate: what must be published."""

    driver: Driver
    found: pulumi.Output[dict[str, str]]
    cluster_id: pulumi.Output[str]
    gate: GateArgs


class ExistingDriver(pulumi.ComponentResource):
    """Implements `components.lab_context.GpuDriver`."""

    owned = False

    def __init__(self, args: ExistingDriverArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("dra-workshop:driver:ExistingDriver", "driver", None, opts)
        self.namespace: pulumi.Input[str] = args.found["namespace"]
        self.plugin: pulumi.Input[str] = args.found["plugin"]
        self.version: pulumi.Input[str] = ""
        self.attributes: list[str] = []
        self.classes: list[str] = list(args.driver.classes[:1])
        self.installed: list[pulumi.Resource] = list(opts.depends_on or [])  # type: ignore[arg-type]
        self.identity: list[pulumi.Output[str]] = [args.cluster_id]
        gate = devices_published(
            args.gate, self.namespace, self.identity,
            pulumi.ResourceOptions(parent=self, depends_on=opts.depends_on),
        )  # fmt: skip
        self.ready: pulumi.Resource = gate
        self.first_uuid: pulumi.Output[str] = gate.stdout.apply(json.loads)["uuid"]
        self.facts: dict[str, pulumi.Input[Any]] = {
            "chart": args.driver.name,
            "version": args.found["version"],
            "namespace": self.namespace,
            "installed": False,
        }
        self.register_outputs({"facts": self.facts})
