"""Closes the module graph and wires cluster → driver → modules → verdict."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from components import manifests, program, runs
from components.check import Check, Gate, Result, Verdict
from components.cluster.kinds import kind_of
from components.lab_context import LabContext
from components.modules.registry import modules
from components.settings import Settings
from components.settings.cluster import MOST_NODES
from components.simulated_gpus import node_names
from kube.devices import BASIS
from results.status import count_bases, joined, merged_results, verdict

Outputs = dict[str, pulumi.Input[Any]]
"""What a stack exports, by name."""


def build(settings: Settings) -> Outputs:
    """Everything that the wanted modules need, in order, and the verdict over it."""
    lab = LabContext(settings, kind_of(settings))
    manifests.require(module.stack for module in lab.modules)
    for module in lab.modules:
        if module.id == "1":
            add_cluster(lab)
        if module.id == "2":
            lab.driver = lab.kind.driver(lab)
        lab.checks[module.id] = module.build(lab)
    # One result for all the checks of a module, without what they measured.
    results = {
        module: pulumi.Output.all(*(check.result for check in checks)).apply(merged_results)
        for module, checks in lab.checks.items()
    }
    outputs = exports(lab, results)
    report = {
        "basis": outputs["basis"],
        "simulated": outputs["simulated"],
        "benchmarks": outputs["benchmarks"],
        "run": runs.verdict_run(settings.stack),
        "versions": versions(lab),
        "configuration": dict(settings.configuration),
    }
    Verdict(settings.strict, results, report)
    return outputs


def add_cluster(lab: LabContext) -> None:
    """The cluster and its nodes, unless a prerequisite is missing."""
    gate = Gate("prerequisites-met", lab.checks["0"])
    lab.kind.provide(lab, pulumi.ResourceOptions(depends_on=[gate.passed]))
    lab.nodes.made.append(remove_leftovers(lab))


def remove_leftovers(lab: LabContext) -> pulumi.Resource:
    """Removes what the configuration does not name any more, before anything is checked.

    Pulumi deletes it when all else is done. A smaller lab would never get there: its checks would
    find the larger one.
    """
    settings = lab.settings
    unwanted_nodes: list[str] = []
    if settings.cluster == "embedded":  # others never have simulated nodes
        wanted = settings.nodes if settings.node == "simulated" else 0
        unwanted_nodes = node_names(MOST_NODES)[wanted:]
    unwanted = [module for module in modules().values() if module not in lab.modules]
    given = pulumi.Output.all(
        kubeconfig=lab.cluster.kubeconfig,
        nodes=unwanted_nodes,
        namespaces=[namespace for module in unwanted for namespace in module.namespaces],
        labels=lab.cluster.namespace_labels,
    )
    opts = pulumi.ResourceOptions(depends_on=[lab.cluster.provider])
    return program.run("leftovers-removed", "operations leftovers", given, opts)


def measured(checks: Mapping[str, Sequence[Check]]) -> pulumi.Output[dict[str, Any]]:
    """The tables of each module that has some, by name: {module: {name: table}}."""

    def collect(results: dict[str, list[Result]]) -> dict[str, Any]:
        found: dict[str, dict[str, Any]] = {}
        for module, programs in results.items():
            for result in programs:
                for name, table in result.get("benchmarks", {}).items():
                    tables = found.setdefault(module, {})
                    tables[name] = joined(tables.get(name), table)
        return found

    return pulumi.Output.all(
        **{module: [check.result for check in each] for module, each in checks.items()}
    ).apply(collect)


def how_much_is_simulated(lab: LabContext) -> pulumi.Input[str]:
    """none, partly (real nodes without real GPUs) or all. Without a cluster there is only this
    machine, which is real."""
    if not lab.has("1"):
        return "none"
    words = {"real": "none", "mocked": "partly", "simulated": "all"}
    return pulumi.Output.from_input(lab.nodes.devices).apply(lambda kind: words[BASIS[kind]])


def versions(lab: LabContext) -> Outputs:
    """Of Kubernetes, the DRA driver and the GPU driver, "" where there is none or nobody knows."""
    wanted = lab.settings.kubernetes_version
    found: Outputs = {"kubernetes": "", "draDriver": "", "gpuDriver": ""}
    if lab.has("1"):  # the facts of a shared cluster have its version
        found["kubernetes"] = lab.cluster.facts.apply(lambda has: has.get("version", wanted))
        facts = pulumi.Output.from_input(lab.nodes.facts)
        found["gpuDriver"] = facts.apply(lambda has: has.get("driverVersion", ""))
    if lab.has("2"):
        found["draDriver"] = lab.driver.facts["version"]
    return found


def exports(lab: LabContext, results: Mapping[str, pulumi.Output[Result]]) -> Outputs:
    """The stack's outputs (docs/results.md); what it does not make is empty.

    Never None: Pulumi drops such an output.
    """
    status = {module: result["status"] for module, result in results.items()}
    return {
        "cluster": lab.cluster.facts if lab.has("1") else {},
        "node": lab.nodes.facts if lab.has("1") else {},
        "driver": dict(lab.driver.facts) if lab.has("2") else {},
        "modules": {
            module.id: {
                "title": module.title,
                "needs": list(module.needs),
                "status": status[module.id],
            }
            for module in lab.modules
        },
        "verification": dict(results),
        "benchmarks": measured(lab.checks),
        "evaluation": {},
        "basis": pulumi.Output.all(*results.values()).apply(count_bases),
        "simulated": how_much_is_simulated(lab),
        "status": pulumi.Output.all(*status.values()).apply(verdict),
        "report": f".results/{lab.settings.stack}/latest/results.json",
    }
