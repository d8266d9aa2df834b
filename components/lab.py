"""Closes the module graph and wires cluster → driver → modules → verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from checks.result import verdict
from components.check import Check, Gate, Result, Verdict
from components.cluster.embedded import EmbeddedCluster, EmbeddedClusterArgs
from components.dra_driver import DraDriver, DraDriverArgs
from components.gpu_node import (
    SimulatedNodes,
    SimulatedNodesArgs,
    SimulatedSlices,
    SimulatedSlicesArgs,
)
from components.modules import module0, module1, module2, module3
from components.modules.registry import Module, closure
from components.settings import Settings
from components.site import Site

BUILDERS: dict[str, Callable[[Site], list[Check]]] = {
    "0": module0.build,
    "1": module1.build,
    "2": module2.build,
    "3": module3.build,
}


@dataclass(frozen=True)
class Lab:
    """What a stack exports."""

    outputs: dict[str, pulumi.Input[Any]]


def build(settings: Settings) -> Lab:
    """Everything that the wanted modules need, in order, and the verdict over it."""
    site = Site(settings)
    modules = closure(settings.modules)
    for module in modules:
        if module.id == "1":
            add_cluster(site)
        if module.id == "2":
            add_driver(site)
        site.checks[module.id] = BUILDERS[module.id](site)
    results = {module.id: merged(site.checks[module.id]) for module in modules}
    outputs = exports(site, modules, results)
    Verdict(settings.strict, results, {"simulated": outputs["simulated"]})
    return Lab(outputs)


def add_cluster(site: Site) -> None:
    """The cluster and its nodes, unless a prerequisite is missing."""
    settings = site.settings
    (prerequisites,) = site.checks["0"]
    gate = Gate("prerequisites-met", prerequisites)
    site.made_cluster = EmbeddedCluster(
        EmbeddedClusterArgs(
            settings.kubernetes_version, settings.feature_gates, settings.runtime_config
        ),
        pulumi.ResourceOptions(depends_on=[gate.passed]),
    )
    site.made_nodes = SimulatedNodes(SimulatedNodesArgs(settings.nodes), site.objects(None))


def add_driver(site: Site) -> None:
    """NVIDIA's driver, and on simulated nodes the slices that its plugin would publish."""
    settings = site.settings
    slices = SimulatedSlices(
        SimulatedSlicesArgs(
            site.nodes.uids, settings.gpus_per_node, settings.gpu_profile, settings.driver_version
        ),
        site.objects(None),
    )
    site.made_driver = DraDriver(
        DraDriverArgs(
            settings.driver_chart,
            settings.driver_version,
            site.cluster.kubeconfig,
            site.nodes.names,
            settings.gpus_per_node,
            slices.slices,
        ),
        # The chart's pods need nodes that run them.
        site.objects(None, *site.nodes.made),
    )


def merged(checks: Sequence[Check]) -> pulumi.Output[Result]:
    """One result for all the checks of a module."""

    def merge(results: list[Result]) -> Result:
        if len(results) == 1:
            return results[0]
        return {
            "module": results[0]["module"],
            "status": verdict(result["status"] for result in results),
            "checks": [finding for result in results for finding in result["checks"]],
        }

    return pulumi.Output.all(*(check.result for check in checks)).apply(merge)


def exports(
    site: Site, modules: Sequence[Module], results: dict[str, pulumi.Output[Result]]
) -> dict[str, pulumi.Input[Any]]:
    """The stack's outputs (docs/architecture.md); what it does not make is empty.

    Never None: Pulumi drops such an output.
    """
    return {
        "cluster": site.made_cluster.facts if site.made_cluster else {},
        "driver": site.made_driver.facts if site.made_driver else {},
        "modules": {
            module.id: {
                "title": module.title,
                "needs": list(module.needs),
                "status": results[module.id].apply(lambda result: result["status"]),
            }
            for module in modules
        },
        "verification": results,
        "benchmarks": {},
        "evaluation": {},
        "simulated": "all" if site.simulated else "none",
        "status": pulumi.Output.all(**results).apply(
            lambda found: verdict(result["status"] for result in found.values())
        ),
        "report": f".results/{site.settings.stack}/latest/results.json",
    }
