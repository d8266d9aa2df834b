"""Runs the program against mocks and records which resource depends on which."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi.runtime import mocks, rpc

from components import lab
from components.settings import parse
from machine.configuration import read_configuration

Inputs = dict[str, Any]
GPU = "GPU-b83343f0-ddfa-f18f-c57a-6148685663c8"
"""The one of the machine that is a host node."""
RENDER = "kubernetes:helm:template"
"""The provider's function that renders a chart."""


@dataclass
class Recorded:
    """One registered resource: type, inputs, and the names of what it depends on."""

    type: str
    inputs: Inputs
    depends_on: set[str]
    parent: str
    deleted_with: str
    replace_on_changes: list[str]
    longest: str
    """How long Pulumi waits when it makes the resource, "" for as long as it does by default."""


@dataclass
class Graph:
    resources: dict[str, Recorded] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    def reaches(self, name: str, target: str) -> bool:
        """Whether `name` waits, directly or not, for `target`."""
        seen: set[str] = set()
        queue = [name]
        while queue:
            current = queue.pop()
            for other in self.resources[current].depends_on - seen:
                seen.add(other)
                queue.append(other)
        return target in seen


class _Mocks(mocks.Mocks):
    """Every Command prints a result, passed unless it is one of `failed`; checks of MPS a table
    too; every object has a uid."""

    def __init__(self, failed: Collection[str] = ()) -> None:
        self.failed = failed

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, Inputs]:
        state = dict(args.inputs)
        if args.typ == "command:local:Command":
            status = "failed" if args.name in self.failed else "passed"
            printed: Inputs = {"module": "?", "status": status, "checks": []}
            if args.name.startswith("check-mps"):
                row = {"pod": args.name}
                printed["benchmarks"] = {"pod-start": {"rows": [row]}, args.name: {"skipped": "?"}}
            facts: Inputs = {
                "cluster_id": "i1",
                "gpus": [{"uuid": GPU}],
                "driverRoot": "root-of-driver",
            }
            facts |= {"lab": "of-this-lab", "looked_at": ["a-node"], "devices": "gpu"}
            facts |= {
                "driver": {"namespace": "their", "plugin": "their-plugin", "version": "0.5.0"}
            }
            facts |= {"uuid": GPU, "uuids": [GPU], "facts": {}, "needs": "digest"}
            subsets = json.loads(args.inputs.get("stdin") or "{}").get("subsets") or [[0]]
            facts["workers"] = [{"gpus": [GPU] * len(subset)} for subset in subsets]
            state["stdout"] = json.dumps(printed | facts)
        if args.typ == "kubernetes:helm.sh/v3:Release":
            state["status"] = {"version": "0.5.0", "revision": 1}
        if "metadata" in state:
            state["metadata"] = state["metadata"] | {"uid": f"uid-{args.name}"}
        return args.name, state

    def call(self, args: mocks.MockCallArgs) -> tuple[Inputs, list[tuple[str, str]]]:
        if args.token == RENDER:
            of_chart = {"metadata": {"name": "gpu.nvidia.com"}, "kind": "DeviceClass"}
            return {"result": [of_chart | {"apiVersion": "resource.k8s.io/v1"}]}, []
        return {}, []


class _Monitor(mocks.MockMonitor):
    def __init__(self, graph: Graph, made: _Mocks) -> None:
        super().__init__(made)
        self.graph = graph

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 (the SDK's name)
        inputs = rpc.deserialize_properties(request.object)
        depends = set(request.dependencies)
        for of_property in request.propertyDependencies.values():
            depends |= set(of_property.urns)
        self.graph.resources[key(request.type, request.name)] = Recorded(
            request.type,
            inputs,
            {_key_of(urn) for urn in depends},
            _key_of(request.parent) if request.parent else "",
            _key_of(request.deletedWith) if request.deletedWith else "",
            list(request.replaceOnChanges),
            request.customTimeouts.create,
        )
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]


def key(kind: str, name: str) -> str:
    return f"{kind.rpartition(':')[2]}/{name}"


def _key_of(urn: str) -> str:
    kinds, _, name = urn.rpartition("::")
    return key(kinds.rpartition("$")[2].rpartition("::")[2], name)


def build(stack: str, failed: Collection[str] = (), **changes: str) -> Graph:
    """The graph of a committed stack, with some configuration changed. failed: Commands of checks
    whose verdict that is."""
    graph = Graph()
    settings = parse(read_configuration(stack) | changes, stack)

    async def program() -> None:  # outputs belong to the event loop that they were made in
        made_up = _Mocks(failed)
        monitor = _Monitor(graph, made_up)
        mocks.set_mocks(made_up, project="dra-workshop", stack=stack, monitor=monitor)
        made = lab.build(settings)
        await pulumi.runtime.stack.wait_for_rpcs()
        resolved = pulumi.Output.from_input(made.outputs)
        graph.outputs = await resolved.future() or {}

    asyncio.run(program())
    return graph
