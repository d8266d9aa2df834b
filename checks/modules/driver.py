"""Module 2: the chart is installed, its device classes exist, every GPU is published.

Parameters: kubeconfig, namespace, chart (its name), plugin (its DaemonSet), driver (name by which
its devices are known), classes, version, nodes (names), gpusPerNode, attributes (names that a
device of this driver version must have), uuids (of the GPUs that NVML sees on a real node), devices
(GPU, MOCK or SIMULATED), memoryLimit (where module 5 is wanted: mib of one client, clients).

With a parameter target the cluster is shared, only the driver knows how many there are, and one GPU
is looked at (checks/shared_driver.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from checks import driver_statements, shared_driver
from checks.result import CheckFailed, Checklist
from kube import devices
from kube.client import Kube
from kube.conditions import wait_for_nodes
from kube.pods import explain_unready
from machine.errors import LabError

UNSTAMPED = "0.0.0-dev"
"""Version of a chart as it lies among its sources; its image tells the driver's."""


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    kube = Kube(parameters["kubeconfig"])
    if "target" in parameters:
        return shared_driver.run(kube, module, parameters)
    nodes = parameters["nodes"]
    per_node, driver = parameters["gpusPerNode"], parameters["driver"]
    made_up = parameters["devices"] != devices.GPU
    simulated = parameters["devices"] == devices.SIMULATED
    checklist = Checklist(module)
    _add_installed(checklist, kube, parameters, simulated)
    checklist.verify(
        "devices-published",
        "every GPU is in a ResourceSlice",
        lambda: _published(
            devices.wait_for(
                kube, nodes, per_node, driver_statements.SECONDS, driver, exactly=True
            ),
            parameters,
        ),
        expected=f"{len(nodes) * per_node} GPUs",
        simulated=made_up,
        remedy=driver_statements.AGAIN,
    )
    driver_statements.add_attributes(
        checklist,
        parameters["attributes"],
        "every GPU is described as this driver version describes it",
        lambda: devices.published(driver_statements.slices(kube), driver),
        made_up=made_up,
    )
    if limit := parameters.get("memoryLimit"):
        driver_statements.add_memory_limit(
            checklist,
            limit,
            "every GPU has the memory that module 5's clients may use",
            lambda: devices.published(driver_statements.slices(kube)),
            simulated=simulated,
        )
    return checklist.to_json()


def _add_installed(
    checklist: Checklist, kube: Kube, parameters: dict[str, Any], simulated: bool
) -> None:
    nodes = parameters["nodes"]
    checklist.verify(
        "chart-version",
        "the driver's chart is installed, in the version that was asked for",
        lambda: _chart(kube, parameters),
        expected=parameters["version"],
        remedy=driver_statements.AGAIN,
    )
    checklist.verify(
        "device-classes",
        "the driver's device classes exist",
        lambda: driver_statements.classes(kube, set(parameters["classes"])),
        expected=", ".join(sorted(parameters["classes"])),
        remedy=driver_statements.AGAIN,
    )
    checklist.verify(
        "plugin-ready",
        "the kubelet plugin is ready on every node",
        lambda: _plugin(kube, parameters["namespace"], parameters["plugin"], len(nodes)),
        needs=["chart-version"],
        expected=f"{len(nodes)} of {len(nodes)}",
        simulated=simulated,
        remedy=driver_statements.AGAIN,
    )


def _chart(kube: Kube, parameters: dict[str, Any]) -> str:
    """The chart names itself on all its objects; the plugin's DaemonSet is the one that counts."""
    plugin, namespace = parameters["plugin"], parameters["namespace"]
    daemon = kube.get(kube.apps.read_namespaced_daemon_set, plugin, namespace)
    found = str((daemon.metadata.labels or {}).get("helm.sh/chart", ""))
    version: str = parameters["version"]
    if found == f"{parameters['chart']}-{UNSTAMPED}":
        (container, *_) = daemon.spec.template.spec.containers
        found = f"{parameters['chart']}-{container.image.rpartition(':')[2].removeprefix('v')}"
    if found != f"{parameters['chart']}-{version}":
        raise CheckFailed(found or "a DaemonSet without chart label")
    return version


def _plugin(kube: Kube, namespace: str, plugin: str, nodes: int) -> str:
    def ready(found: list[Any]) -> int:
        return sum(d.status.number_ready or 0 for d in found)

    found = kube.wait(
        kube.apps.list_namespaced_daemon_set,
        lambda d: ready(d) >= nodes,
        driver_statements.SECONDS,
        what=f"DaemonSet {namespace}/{plugin}",
        namespace=namespace,
        field_selector=f"metadata.name={plugin}",
    )
    text = f"{ready(found)} of {nodes}"
    if ready(found) < nodes:
        raise CheckFailed(": ".join(filter(None, (text, explain_unready(kube, namespace)))))
    return text


def _published(found: Sequence[devices.Device], parameters: dict[str, Any]) -> str:
    wanted, known = len(parameters["nodes"]) * parameters["gpusPerNode"], set(parameters["uuids"])
    if len(found) != wanted:
        raise CheckFailed(f"{len(found)} GPUs")
    uuids = {device.uuid for device in found}
    if len(uuids) < len(found):
        raise CheckFailed(f"{len(found)} GPUs, but only {len(uuids)} different UUIDs")
    if known and uuids != known:
        raise CheckFailed(f"published {sorted(uuids)}, but nvidia-smi sees {sorted(known)}")
    return f"{len(found)} GPUs ({', '.join(sorted({device.product for device in found}))})"


def gate(parameters: dict[str, Any]) -> str:
    """Wait until every node is ready and every GPU published: before, pods would be refused.

    parameters: kubeconfig, namespace and driver (see above), nodes, gpusPerNode, seconds,
    memoryLimit. Returns {"uuid": of the first GPU by the names of its node and itself} as JSON, ""
    where none is expected.

    Raises CheckFailed that says what is missing, or that module 5's memory limit does not fit a
    GPU."""
    kube = Kube(parameters["kubeconfig"])
    nodes, seconds = parameters["nodes"], parameters["seconds"]
    if "target" in parameters:
        return shared_driver.gate(kube, parameters)
    wait_for_nodes(kube, nodes, seconds)
    try:
        found = devices.wait_for(
            kube, nodes, parameters["gpusPerNode"], seconds, parameters["driver"]
        )
    except LabError as error:
        why = explain_unready(kube, parameters["namespace"])
        raise CheckFailed("; ".join(filter(None, (str(error), why)))) from error
    driver_statements.require_fit(found, parameters.get("memoryLimit"))
    on_nodes = sorted((d.node, d.name, d.uuid) for d in found if d.node in nodes)
    return json.dumps({"uuid": on_nodes[0][-1] if on_nodes else ""})
