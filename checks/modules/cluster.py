"""Module 1: the API server answers, serves DRA, runs the gates asked for, and has its nodes.

Parameters: kubeconfig, clusterOwned (whether the lab made the cluster; a shared one may have any
version that is new enough), kubernetesVersion, featureGates and runtimeConfig ("Name=true"
strings), nodes (names, [] where none is known), devices (what those of the nodes are).
"""

from collections.abc import Mapping
from typing import Any

import semver
from kubernetes import client
from prometheus_client.parser import text_string_to_metric_families

from checks.result import CheckFailed, CheckSkipped, require
from checks.steps import REAL_NODES, Scenario, Step, verify
from kube.client import Kube
from kube.conditions import condition, wait_for_nodes
from kube.devices import LEVELS
from kube.ownership import OLDEST
from kube.permissions import on
from machine.errors import LabError

KINDS = {"deviceclasses", "resourceclaims", "resourceclaimtemplates", "resourceslices"}
GATES = "kubernetes_feature_enabled"
"""The metric with a sample for every feature gate."""
READY_SECONDS = 30.0
LOGS = "see the logs: make logs STACK=…"
PERMISSIONS = (*on("nodes", "list"), *on("nodes", "watch", real=True))
OF_OTHERS = "ask whoever runs the cluster"


class Cluster(Scenario):
    """ours: whether the lab made the cluster; gates, apis: what was asked for."""

    def __init__(self, kube: Kube, parameters: Mapping[str, Any]) -> None:
        self.kube = kube
        self.version: str = parameters["kubernetesVersion"]
        self.gates: list[str] = parameters["featureGates"]
        self.apis: list[str] = parameters["runtimeConfig"]
        self.nodes: list[str] = parameters["nodes"]
        self.devices = parameters["devices"]
        self.ours: bool = parameters["clusterOwned"]
        self.remedy = LOGS if self.ours else OF_OTHERS

    def api_version(self) -> str:
        code = self.kube.get(client.VersionApi(self.kube.api).get_code)
        found = str(code.git_version).removeprefix("v")
        if not self.ours:
            return at_least(found, OLDEST)
        return require(found == self.version, found)

    def runtime_config_set(self) -> str:
        """That each group and version is served, or not, as asked for."""
        groups = self.kube.get(client.ApisApi(self.kube.api).get_api_versions).groups
        served = {version.group_version for group in groups for version in group.versions}
        for switch in self.apis:
            name, _, state = switch.partition("=")
            of_all = name.startswith("api/")  # such as api/beta: no version of its own
            if not of_all and name.count("/") == 1 and (name in served) != (state == "true"):
                raise CheckFailed(f"{name} is {'served' if name in served else 'not served'}")
        return ", ".join(self.apis) or f"{len(served)} API versions served"

    def nodes_ready(self) -> str:
        if self.nodes:
            return wait_for_nodes(self.kube, self.nodes, READY_SECONDS)
        nodes = self.kube.get(self.kube.core.list_node).items
        states = [condition(node, "Ready") for node in nodes]
        ready = sum(state is not None and state.status == "True" for state in states)
        if not ready:
            raise CheckFailed(f"none of {len(nodes)} nodes is ready")
        return f"{ready} of {len(nodes)} nodes ready"


def at_least(version: str, oldest: str) -> str:
    """Clouds append to a version, as in 1.34.3-gke.1068000, and do not mean one before it."""
    try:
        found = semver.Version.parse(version)
    except ValueError as error:
        raise CheckFailed(f"'{version}', which is no version") from error
    return require(found.finalize_version() >= semver.Version.parse(oldest), version)


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
        f"{sample.labels['name']}={'true' if sample.value else 'false'}"
        for family in text_string_to_metric_families(text)
        if family.name == GATES
        for sample in family.samples
    }
    if wrong := [gate for gate in asked if gate not in found]:
        raise CheckFailed("not as asked: " + ", ".join(wrong))
    return ", ".join(asked) or f"{len(found)} gates at their defaults"


def visible_gates(kube: Kube, asked: list[str]) -> str:
    """The same on a cluster of others, where metrics are often for administrators only."""
    try:
        kube.text("/metrics")
    except LabError as error:
        raise CheckSkipped(f"not visible: {error}") from error
    return gates(kube, asked)


STEPS: tuple[Step[Cluster], ...] = (
    Step("api-version", "the API server answers, in the version that was asked for",
         Cluster.api_version, lambda s: s.version if s.ours else f"{OLDEST} or later",
         real_on=LEVELS),
    Step("dra-served", "resource.k8s.io/v1 is served",
         lambda s: served(s.kube), ", ".join(sorted(KINDS)), needs="api-version", real_on=LEVELS,
         remedy="use Kubernetes 1.34 or later"),
    Step("feature-gates-set", "the feature gates are as asked for",
         lambda s: (gates if s.ours else visible_gates)(s.kube, s.gates),
         lambda s: ", ".join(s.gates) or "defaults", needs="api-version", real_on=LEVELS),
    Step("runtime-config-set", "the APIs that were to be switched are on or off as asked for",
         Cluster.runtime_config_set, lambda s: ", ".join(s.apis) or "defaults",
         needs="api-version", real_on=LEVELS,
         remedy="correct runtimeConfig, for example resource.k8s.io/v1beta2=true"),
    Step("nodes-ready",
         lambda s: "every node is ready" if s.ours else "the node of the target is ready",
         Cluster.nodes_ready, lambda s: ", ".join(s.nodes) or "a node", needs="api-version",
         real_on=REAL_NODES),
)  # fmt: skip


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return verify(module, STEPS, Cluster(Kube(parameters["kubeconfig"]), parameters)).to_json()
