"""Module 2 on a cluster that the lab shares: the one GPU that it may use, and the driver that
publishes it. Other nodes, their devices and their drivers are left alone.

Parameters as in checks/modules/driver.py. target: the GPU's UUID, "" where no module needs one;
version and attributes are "" and [] where the driver is not the lab's, namespace and plugin ""
where the driver's DaemonSet is not known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from checks import driver_statements
from checks.result import CheckFailed, Checklist, CheckSkipped
from kube import devices, ownership
from kube.client import Kube
from kube.conditions import condition, wait_for_nodes
from kube.permissions import DRA, on
from kube.pods import describe, explain_unready
from machine.errors import LabError

OF_OTHERS = "the driver is not the lab's: ask whoever runs the cluster"
PERMISSIONS = (
    *on("deviceclasses", "list", group=DRA),
    *on("resourceslices", "list", group=DRA),
    *on("resourceslices", "watch", group=DRA, real=True),
)
IN_DRIVER = (
    *on("daemonsets", "get", group="apps"),
    *on("pods", "list"),
    *on("pods", "watch", real=True),
)
"""In the driver's namespace."""
UNKNOWN = "which DaemonSet brings the driver is not known"


def run(kube: Kube, module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    ours = bool(parameters["version"])
    remedy = driver_statements.AGAIN if ours else OF_OTHERS
    made_up = parameters["devices"] != devices.GPU
    simulated = parameters["devices"] == devices.SIMULATED
    checklist = Checklist(module)
    _add_installed(checklist, kube, parameters, remedy)
    checklist.verify(
        "devices-published",
        "the GPU is in a ResourceSlice",
        lambda: _told(published(kube, parameters, driver_statements.SECONDS)),
        expected=parameters["target"] or f"a device of {parameters['driver']}",
        simulated=made_up,
        remedy=remedy,
    )
    checklist.verify(
        "plugin-ready",
        "the kubelet plugin is ready on its node",
        lambda: _plugin(kube, parameters),
        expected="ready",
        remedy=remedy,
        needs=["devices-published"] if parameters["plugin"] else [],
        simulated=simulated,
    )
    if ours:
        driver_statements.add_attributes(
            checklist,
            parameters["attributes"],
            "it is described as this driver version describes it",
            lambda: [published(kube, parameters, 0)],
            made_up=made_up,
        )
    if limit := parameters.get("memoryLimit"):
        driver_statements.add_memory_limit(
            checklist,
            limit,
            "it has the memory that module 5's clients may use",
            lambda: [published(kube, parameters, 0)],
            simulated=simulated,
        )
    return checklist.to_json()


def _add_installed(
    checklist: Checklist, kube: Kube, parameters: dict[str, Any], remedy: str
) -> None:
    title = "the driver's chart is installed" + (
        ", in the version asked for" if parameters["version"] else ""
    )
    checklist.verify(
        "chart-version",
        title,
        lambda: _chart(kube, parameters),
        parameters["version"] or "any",
        remedy,
    )
    checklist.verify(
        "device-classes",
        "the device classes that the lab uses exist",
        lambda: driver_statements.classes(kube, set(parameters["classes"])),
        expected=", ".join(sorted(parameters["classes"])),
        remedy=remedy,
    )


def published(kube: Kube, parameters: dict[str, Any], seconds: float) -> devices.Device:
    """The target, or where none is named the first device by the names of its node and itself.

    Raises CheckFailed if it is not published at the deadline, or more than once.
    """
    domain, target = parameters["driver"], parameters["target"]

    def chosen(slices: list[Any]) -> Sequence[devices.Device]:
        found = devices.published(slices, domain)
        return [device for device in found if target in ("", device.uuid)]

    slices = kube.wait(
        kube.resource.list_resource_slice,
        lambda found: bool(chosen(found)),
        seconds,
        what=f"{target or 'a device'} in a slice of {domain}",
    )
    found = chosen(slices)
    if not found:
        what = target or "no device"
        raise CheckFailed(f"after {seconds:.0f} s {what} is in no slice of {domain}")
    if target:
        ownership.the_one(found, target)
    return min(found, key=lambda device: (device.node, device.name))


def _told(device: devices.Device) -> str:
    return f"{device.name} on {device.node} ({device.product})"


def _chart(kube: Kube, parameters: dict[str, Any]) -> str:
    plugin, namespace = parameters["plugin"], parameters["namespace"]
    if not plugin:
        raise CheckSkipped(UNKNOWN)
    daemon_set = kube.get(kube.apps.read_namespaced_daemon_set, plugin, namespace)
    found = ownership.described(daemon_set, parameters["chart"])["version"]
    if parameters["version"] and found != parameters["version"]:
        raise CheckFailed(found or "a DaemonSet without chart label")
    return found or f"{namespace}/{plugin}, without chart label"


def _plugin(kube: Kube, parameters: dict[str, Any]) -> str:
    """The pod of the DaemonSet on the node that has the GPU."""
    namespace, plugin = parameters["namespace"], parameters["plugin"]
    if not plugin:
        raise CheckSkipped(UNKNOWN)
    node = published(kube, parameters, 0).node

    def here(pods: list[Any]) -> list[Any]:
        return [
            pod
            for pod in pods
            if pod.spec.node_name == node
            and any(owner.name == plugin for owner in pod.metadata.owner_references or [])
        ]

    def ready(pods: list[Any]) -> bool:
        states = [condition(pod, "Ready") for pod in here(pods)]
        return any(state is not None and state.status == "True" for state in states)

    pods = kube.wait(
        kube.core.list_namespaced_pod,
        ready,
        driver_statements.SECONDS,
        what=f"the pod of {namespace}/{plugin} on {node}",
        namespace=namespace,
    )
    if not ready(pods):
        why = describe(here(pods)[0]) if here(pods) else "it has no pod there"
        raise CheckFailed(f"on {node}: {why}")
    return f"ready on {node}"


def gate(kube: Kube, parameters: dict[str, Any]) -> str:
    """Wait until the GPU is published and its node ready; see `checks.modules.driver.gate`."""
    try:
        device = published(kube, parameters, parameters["seconds"])
    except LabError as error:
        namespace = parameters["namespace"]
        why = explain_unready(kube, namespace) if namespace else ""
        raise CheckFailed("; ".join(filter(None, (str(error), why)))) from error
    wait_for_nodes(kube, [device.node], parameters["seconds"])
    driver_statements.require_fit([device], parameters.get("memoryLimit"))
    return json.dumps({"uuid": device.uuid})
