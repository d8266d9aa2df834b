"""Runs the program against mocks and records which resource depends on which."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi.runtime import mocks, rpc

from components import lab
from components.settings import parse
from machine.configuration import read_configuration
from tests.mocks import printed

Inputs = dict[str, Any]
Results = Mapping[str, Mapping[str, Any]]
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
    """Every Command prints what its program does, and every object has a uid. results: check
    program → what its result has in the place of, or beside, what one has that passed."""

    def __init__(self, results: Results) -> None:
        self.results = results

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, Inputs]:
        state = dict(args.inputs)
        if args.typ == "command:local:Command":
            special = self.results.get(args.name.removeprefix("check-"))
            state["stdout"] = json.dumps(printed(state, special))
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


def build(stack: str, results: Results | None = None, /, **changes: str) -> Graph:
    """The graph of a committed stack, with some configuration changed; results: see _Mocks."""
    graph = Graph()
    settings = parse(read_configuration(stack) | changes, stack)

    async def program() -> None:  # outputs belong to the event loop that they were made in
        made_up = _Mocks(results or {})
        monitor = _Monitor(graph, made_up)
        mocks.set_mocks(made_up, project="dra-workshop", stack=stack, monitor=monitor)
        made = lab.build(settings)
        await pulumi.runtime.stack.wait_for_rpcs()
        resolved = pulumi.Output.from_input(made)
        graph.outputs = await resolved.future() or {}

    asyncio.run(program())
    return graph
