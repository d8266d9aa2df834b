"""Closes the module graph and wires cluster → driver → modules → verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components import leftovers, manifests, runs
from components.check import Check, Gate, Result, Verdict
from components.cluster.kinds import kind_of
from components.lab_context import LabContext
from components.modules.registry import Module, closure
from components.settings import Settings
from kube.devices import GPU, MOCK, SIMULATED
from results.status import joined, merged_results, verdict


@dataclass(frozen=True)
class Lab:
    """What a stack exports."""

    outputs: dict[str, pulumi.Input[Any]]


def build(settings: Settings) -> Lab:
    """Everything that the wanted modules need, in order, and the verdict over it."""
    modules = closure(settings.modules)
    manifests.require(module.stack for module in modules)
    lab = LabContext(settings, kind_of(settings))
    for module in modules:
        if module.id == "1":
            add_cluster(lab)
        if module.id == "2":
            lab.made_driver = lab.kind.driver(lab)
        lab.checks[module.id] = module.build(lab)
    results = {module.id: merged(lab.checks[module.id]) for module in modules}
    outputs = exports(lab, modules, results)
    kept = {name: outputs[name] for name in ("simulated", "benchmarks")}
    kept |= {"run": runs.verdict_run(settings.stack), "versions": versions(lab)}
    kept["configuration"] = dict(settings.configuration)
    Verdict(settings.strict, results, kept)
    return Lab(outputs)


def add_cluster(lab: LabContext) -> None:
    """The cluster and its nodes, unless a prerequisite is missing."""
    gate = Gate("prerequisites-met", lab.checks["0"])
    lab.kind.provide(lab, pulumi.ResourceOptions(depends_on=[gate.passed]))
    lab.nodes.made.append(leftovers.removed(lab))


def merged(checks: Sequence[Check]) -> pulumi.Output[Result]:
    """One result for all the checks of a module, without what they measured."""
    return pulumi.Output.all(*(check.result for check in checks)).apply(merged_results)


def measured(checks: Mapping[str, Sequence[Check]]) -> pulumi.Output[dict[str, Any]]:
    """The tables of each module that has some, by name: {module: {name: table}}."""

    def collect(results: dict[str, list[Result]]) -> dict[str, Any]:
        found: dict[str, dict[str, Any]] = {}
        for module, programs in results.items():
            for result in programs:
                for name, table in result.get("benchmarks", {}).items():
                    found.setdefault(module, {})[name] = joined(
                        found.get(module, {}).get(name), table
                    )
        return found

    return pulumi.Output.all(
        **{module: [check.result for check in each] for module, each in checks.items()}
    ).apply(collect)


def how_much_is_simulated(lab: LabContext) -> pulumi.Input[str]:
    """none, partly (mock devices on real nodes) or all; without a cluster, what it would be."""
    if lab.made_nodes is None:
        return "all" if lab.settings.node == "simulated" else "none"
    words = {GPU: "none", MOCK: "partly", SIMULATED: "all"}
    return pulumi.Output.all(lab.devices).apply(lambda kinds: words[kinds[0]])


def versions(lab: LabContext) -> dict[str, pulumi.Input[Any]]:
    """Of Kubernetes, the DRA driver and the GPU driver, "" where there is none or nobody knows."""
    wanted = lab.settings.kubernetes_version
    found: dict[str, pulumi.Input[Any]] = {"kubernetes": "", "draDriver": "", "gpuDriver": ""}
    if lab.made_cluster:  # the facts of one of others say its version
        found["kubernetes"] = lab.made_cluster.facts.apply(lambda told: told.get("version", wanted))
    if lab.made_driver:
        found["draDriver"] = lab.made_driver.facts["version"]
    if lab.made_nodes:
        told = pulumi.Output.from_input(lab.made_nodes.facts)
        found["gpuDriver"] = told.apply(lambda facts: facts.get("driverVersion", ""))
    return found


def exports(
    lab: LabContext, modules: Sequence[Module], results: dict[str, pulumi.Output[Result]]
) -> dict[str, pulumi.Input[Any]]:
    """The stack's outputs (docs/results.md); what it does not make is empty.

    Never None: Pulumi drops such an output.
    """
    return {
        "cluster": lab.made_cluster.facts if lab.made_cluster else {},
        "node": lab.made_nodes.facts if lab.made_nodes else {},
        "driver": dict(lab.made_driver.facts) if lab.made_driver else {},
        "modules": {
            module.id: {
                "title": module.title,
                "needs": list(module.needs),
                "status": results[module.id].apply(lambda result: result["status"]),
            }
            for module in modules
        },
        "verification": results,
        "benchmarks": measured(lab.checks),
        "evaluation": {},
        "simulated": how_much_is_simulated(lab),
        "status": pulumi.Output.all(**results).apply(
            lambda found: verdict(result["status"] for result in found.values())
        ),
        "report": f".results/{lab.settings.stack}/latest/results.json",
    }
