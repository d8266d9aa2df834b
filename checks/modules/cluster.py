"""Module 1: the API server answers, serves DRA, runs the gates asked for, and has its nodes.

Parameters: kubeconfig, kubernetesVersion (of a cluster that is not ours the oldest that will do, as
">=1.34.2"), featureGates and runtimeConfig ("Name=true" strings), nodes (names, [] where none is
known), simulated (whether the nodes are).
"""

from __future__ import annotations

from typing import Any

import semver
from kubernetes import client
from prometheus_client.parser import text_string_to_metric_families

from checks.result import CheckFailed, Checklist, CheckSkipped
from kube.client import Kube
from kube.conditions import condition, wait_for_nodes
from kube.permissions import on
from machine.errors import LabError

KINDS = {"deviceclasses", "resourceclaims", "resourceclaimtemplates", "resourceslices"}
GATES = "kubernetes_feature_enabled"
"""The metric with a sample for every feature gate."""
READY_SECONDS = 30.0
LOGS = "see the logs: make logs STACK=…"
AT_LEAST = ">="
PERMISSIONS = (*on("nodes", "list"), *on("nodes", "watch", real=True))
OF_OTHERS = "ask whoever runs the cluster"


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    kube = Kube(parameters["kubeconfig"])
    nodes, gates_asked = parameters["nodes"], parameters["featureGates"]
    ours = not parameters["kubernetesVersion"].startswith(AT_LEAST)
    remedy = LOGS if ours else OF_OTHERS
    checklist = Checklist(module)
    checklist.verify(
        "api-version",
        "the API server answers, in the version that was asked for",
        lambda: _version(kube, parameters["kubernetesVersion"]),
        expected=parameters["kubernetesVersion"],
        remedy=remedy,
    )
    checklist.verify(
        "dra-served",
        "resource.k8s.io/v1 is served",
        lambda: served(kube),
        expected=", ".join(sorted(KINDS)),
        needs=["api-version"],
        remedy="use Kubernetes 1.34 or later",
    )
    checklist.verify(
        "feature-gates-set",
        "the feature gates are as asked for",
        lambda: (gates if ours else visible_gates)(kube, gates_asked),
        needs=["api-version"],
        expected=", ".join(gates_asked) or "defaults",
        remedy=remedy,
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
        "every node is ready" if ours else "the node of the target is ready",
        lambda: wait_for_nodes(kube, nodes, READY_SECONDS) if nodes else _some_ready(kube),
        expected=", ".join(nodes) or "a node",
        needs=["api-version"],
        simulated=parameters["simulated"],
        remedy=remedy,
    )
    return checklist.to_json()


def _version(kube: Kube, expected: str) -> str:
    found = str(kube.get(client.VersionApi(kube.api).get_code).git_version).removeprefix("v")
    if expected.startswith(AT_LEAST):
        return at_least(found, expected.removeprefix(AT_LEAST))
    if found != expected:
        raise CheckFailed(found)
    return found


def at_least(version: str, oldest: str) -> str:
    """Clouds append to a version, as in 1.34.3-gke.1068000, and do not mean one before it."""
    try:
        found = semver.Version.parse(version)
    except ValueError as error:
        raise CheckFailed(f"'{version}', which is no version") from error
    if found.finalize_version() < semver.Version.parse(oldest):
        raise CheckFailed(version)
    return version


def served(kube: Kube) -> str:
    listed = kube.get(client.ResourceV1Api(kube.api).get_api_resources)
    names = {resource.name for resource in listed.resources}
    if missing := KINDS - names:
        raise CheckFailed(f"not served: {', '.join(sorted(missing))}")
    return ", ".join(sorted(KINDS))


def gates(kube: Kube, asked: list[str]) -> str:
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
        raise CheckFailed("not as asked: " + ", ".join(wrong))
    return ", ".join(asked) or f"{len(found)} gates at their defaults"


def visible_gates(kube: Kube, asked: list[str]) -> str:
    """The same on a cluster of others, where metrics are often for administrators only."""
    try:
        kube.text("/metrics")
    except LabError as error:
        raise CheckSkipped(f"not visible: {error}") from error
    return gates(kube, asked)


def _apis(kube: Kube, asked: list[str]) -> str:
    """Whether each group and version is served, or not, as asked for."""
    groups = kube.get(client.ApisApi(kube.api).get_api_versions).groups
    served = {version.group_version for group in groups for version in group.versions}
    for switch in asked:
        name, _, state = switch.partition("=")
        of_all = name.startswith("api/")  # such as api/beta: no version of its own
        if not of_all and name.count("/") == 1 and (name in served) != (state == "true"):
            raise CheckFailed(f"{name} is {'served' if name in served else 'not served'}")
    return ", ".join(asked) or f"{len(served)} API versions served"


def _some_ready(kube: Kube) -> str:
    """Where it is not known which nodes the lab will use."""
    nodes = kube.get(kube.core.list_node).items
    states = [condition(node, "Ready") for node in nodes]
    ready = sum(state is not None and state.status == "True" for state in states)
    if not ready:
        raise CheckFailed(f"none of {len(nodes)} nodes is ready")
    return f"{ready} of {len(nodes)} nodes ready"
