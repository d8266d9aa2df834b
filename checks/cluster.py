"""Module 1: the API server answers, serves DRA, runs the gates asked for, and has its nodes.

Parameters: kubeconfig, kubernetesVersion, featureGates and runtimeConfig ("Name=true" strings),
nodes (names), simulated (whether the nodes are).
"""

from __future__ import annotations

from typing import Any

from kubernetes import client
from prometheus_client.parser import text_string_to_metric_families

from checks.kube import Kube, condition
from checks.result import Checklist, NotSo

KINDS = {"deviceclasses", "resourceclaims", "resourceclaimtemplates", "resourceslices"}
GATES = "kubernetes_feature_enabled"
"""The metric with a sample for every feature gate."""
READY_SECONDS = 30.0
LOGS = "see the logs: make logs STACK=…"


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    kube = Kube(parameters["kubeconfig"])
    checklist = Checklist(module)
    checklist.verify(
        "api-version",
        "the API server answers, in the version that was asked for",
        lambda: _version(kube, parameters["kubernetesVersion"]),
        expected=parameters["kubernetesVersion"],
        remedy=LOGS,
    )
    checklist.verify(
        "dra-served",
        "resource.k8s.io/v1 is served",
        lambda: _served(kube),
        expected=", ".join(sorted(KINDS)),
        needs=["api-version"],
        remedy="use Kubernetes 1.34 or later",
    )
    checklist.verify(
        "feature-gates-set",
        "the feature gates are as asked for",
        lambda: _gates(kube, parameters["featureGates"]),
        needs=["api-version"],
        expected=", ".join(parameters["featureGates"]) or "defaults",
        remedy=LOGS,
    )
    checklist.verify(
        "runtime-config-set",
        "the APIs that were to be switched are on or off as asked for",
        lambda: _apis(kube, parameters["runtimeConfig"]),
        needs=["api-version"],
        expected=", ".join(parameters["runtimeConfig"]) or "defaults",
        remedy="correct runtimeConfig, for example resource.k8s.io/v1beta2=true",
    )
    checklist.verify(
        "nodes-ready",
        "every node is ready",
        lambda: wait_for_nodes(kube, parameters["nodes"], READY_SECONDS),
        expected=", ".join(parameters["nodes"]),
        needs=["api-version"],
        simulated=parameters["simulated"],
        remedy=LOGS,
    )
    return checklist.to_json()


def _version(kube: Kube, expected: str) -> str:
    found = str(kube.get(client.VersionApi(kube.api).get_code).git_version).removeprefix("v")
    if found != expected:
        raise NotSo(found)
    return found


def _served(kube: Kube) -> str:
    listed = kube.get(client.ResourceV1Api(kube.api).get_api_resources)
    names = {resource.name for resource in listed.resources}
    if missing := KINDS - names:
        raise NotSo(f"not served: {', '.join(sorted(missing))}")
    return ", ".join(sorted(KINDS))


def _gates(kube: Kube, asked: list[str]) -> str:
    """The API server tells the gates that are on in its metrics, of which it has thousands."""
    lines = kube.text("/metrics").splitlines(keepends=True)
    text = "".join(line for line in lines if GATES in line)
    found = {
        sample.labels["name"]: "true" if sample.value else "false"
        for family in text_string_to_metric_families(text)
        if family.name == GATES
        for sample in family.samples
    }
    wrong = [gate for gate in asked if found.get(gate.partition("=")[0]) != gate.partition("=")[2]]
    if wrong:
        raise NotSo("not so: " + ", ".join(wrong))
    return ", ".join(asked) or f"{len(found)} gates at their defaults"


def _apis(kube: Kube, asked: list[str]) -> str:
    """Whether each group and version is served, or not, as asked for."""
    groups = kube.get(client.ApisApi(kube.api).get_api_versions).groups
    served = {version.group_version for group in groups for version in group.versions}
    for switch in asked:
        name, _, state = switch.partition("=")
        of_all = name.startswith("api/")  # such as api/beta: no version of its own
        if not of_all and name.count("/") == 1 and (name in served) != (state == "true"):
            raise NotSo(f"{name} is {'served' if name in served else 'not served'}")
    return ", ".join(asked) or f"{len(served)} API versions served"


def wait_for_nodes(kube: Kube, names: list[str], seconds: float) -> str:
    """The names, as soon as all these nodes are ready; raises NotSo at the deadline."""

    def ready(nodes: list[Any]) -> set[str]:
        states = ((node.metadata.name, condition(node, "Ready")) for node in nodes)
        return {name for name, state in states if state is not None and state.status == "True"}

    nodes = kube.wait(kube.core.list_node, lambda found: set(names) <= ready(found), seconds)
    if missing := set(names) - ready(nodes):
        raise NotSo(f"after {seconds:.0f} s not ready: {', '.join(sorted(missing))}")
    return ", ".join(sorted(names))
