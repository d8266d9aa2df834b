"""Closes the module graph and wires cluster → driver → modules → verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from checks.devices import GPU, MOCK, SIMULATED
from checks.result import joined, merged_results, verdict
from components import leftovers, manifests, runs
from components.check import Check, Gate, Result, Verdict
from components.cluster import provision
from components.dra_driver import DraDriver, DraDriverArgs
from components.gpu_node import SimulatedNodes, SimulatedSlices, SimulatedSlicesArgs
from components.modules import module0, module1, module2, module3, module4, module5
from components.modules.registry import Module, closure
from components.settings import Settings
from components.site import Site

BUILDERS: dict[str, Callable[[Site], list[Check]]] = {
    "0": module0.build,
    "1": module1.build,
    "2": module2.build,
    "3": module3.build,
    "4": module4.build,
    "5": module5.build,
}


@dataclass(frozen=True)
class Lab:
    """What a stack exports."""

    outputs: dict[str, pulumi.Input[Any]]


def build(settings: Settings) -> Lab:
    """Everything that the wanted modules need, in order, and the verdict over it."""
    modules = closure(settings.modules)
    manifests.require(module.stack for module in modules)
    site = Site(settings)
    for module in modules:
        if module.id == "1":
            add_cluster(site)
        if module.id == "2":
            add_driver(site)
        site.checks[module.id] = BUILDERS[module.id](site)
    results = {module.id: merged(site.checks[module.id]) for module in modules}
    outputs = exports(site, modules, results)
    kept = {name: outputs[name] for name in ("simulated", "benchmarks")}
    kept["run"] = runs.verdict_run(settings.stack)
    Verdict(settings.strict, results, kept)
    return Lab(outputs)


def add_cluster(site: Site) -> None:
    """The cluster and its nodes, unless a prerequisite is missing."""
    gate = Gate("prerequisites-met", site.checks["0"])
    provision.provide(site, gate.passed)
    site.nodes.made.append(leftovers.removed(site))


def add_driver(site: Site) -> None:
    """The DRA driver, unless it is there, and on nodes that the lab simulates the slices that its
    plugin would publish."""
    settings = site.settings
    if not settings.install_driver:
        site.made_driver = provision.driver_there(site)
        return
    site.made_driver = DraDriver(
        DraDriverArgs(
            settings.driver,
            settings.driver_chart,
            settings.driver_version,
            site.cluster.kubeconfig,
            site.nodes.names,
            site.nodes.gpus_per_node,
            slices_of(site),
            site.nodes.driver_root,
            site.memory_limit,
            settings.target,
            site.cluster.namespace_labels,
            site.outside,
        ),
        # The chart's pods need nodes that run them.
        site.objects(None, *site.nodes.made),
    )


def slices_of(site: Site) -> list[Any]:
    """The slices of simulated nodes; on a real one the driver's plugin publishes them."""
    if not isinstance(site.made_nodes, SimulatedNodes):
        return []
    settings = site.settings
    return SimulatedSlices(
        SimulatedSlicesArgs(
            site.made_nodes.uids,
            settings.gpus_per_node,
            settings.gpu_profile,
            settings.driver_version,
        ),
        site.objects(None),
    ).slices


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


def how_much_is_simulated(site: Site) -> pulumi.Input[str]:
    """none, partly (mock devices on real nodes) or all; without a cluster, what it would be."""
    if site.made_nodes is None:
        return "all" if site.settings.node == "simulated" else "none"
    words = {GPU: "none", MOCK: "partly", SIMULATED: "all"}
    return pulumi.Output.all(site.devices).apply(lambda kinds: words[kinds[0]])


def exports(
    site: Site, modules: Sequence[Module], results: dict[str, pulumi.Output[Result]]
) -> dict[str, pulumi.Input[Any]]:
    """The stack's outputs (docs/architecture.md); what it does not make is empty.

    Never None: Pulumi drops such an output.
    """
    return {
        "cluster": site.made_cluster.facts if site.made_cluster else {},
        "node": site.made_nodes.facts if site.made_nodes else {},
        "driver": dict(site.made_driver.facts) if site.made_driver else {},
        "modules": {
            module.id: {
                "title": module.title,
                "needs": list(module.needs),
                "status": results[module.id].apply(lambda result: result["status"]),
            }
            for module in modules
        },
        "verification": results,
        "benchmarks": measured(site.checks),
        "evaluation": {},
        "simulated": how_much_is_simulated(site),
        "status": pulumi.Output.all(**results).apply(
            lambda found: verdict(result["status"] for result in found.values())
        ),
        "report": f".results/{site.settings.stack}/latest/results.json",
    }
