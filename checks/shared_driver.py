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
from checks.result import CheckFailed, Checklist
from kube import devices, ownership, trouble
from kube.client import Kube, condition, describe
from kube.nodes import wait_for_nodes
from kube.permissions import DRA, on
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
    title = "the driver's chart is installed" + (", in the version asked for" if ours else "")
    if parameters["plugin"]:
        checklist.verify(
            "chart-version",
            title,
            lambda: _chart(kube, parameters),
            expected=parameters["version"] or "any",
            remedy=remedy,
        )
    else:
        checklist.skip("chart-version", title, UNKNOWN)
    checklist.verify(
        "device-classes",
        "the device classes that the lab uses exist",
        lambda: driver_statements.classes(kube, set(parameters["classes"])),
        expected=", ".join(sorted(parameters["classes"])),
        remedy=remedy,
    )
    checklist.verify(
        "devices-published",
        "the GPU is in a ResourceSlice",
        lambda: _told(published(kube, parameters, driver_statements.SECONDS)),
        expected=parameters["target"] or f"a device of {parameters['driver']}",
        simulated=made_up,
        remedy=remedy,
    )
    plugin = "the kubelet plugin is ready on its node"
    if parameters["plugin"]:
        checklist.verify(
            "plugin-ready",
            plugin,
            lambda: _plugin(kube, parameters),
            needs=["devices-published"],
            expected="ready",
            simulated=simulated,
            remedy=remedy,
        )
    else:
        checklist.skip("plugin-ready", plugin, UNKNOWN, simulated=simulated)
    if ours:
        checklist.verify(
            "device-attributes",
            "it is described as this driver version describes it",
            lambda: driver_statements.described_by(
                [published(kube, parameters, 0)], set(parameters["attributes"]), made_up
            ),
            needs=["devices-published"],
            expected=", ".join(parameters["attributes"]),
            simulated=made_up,
            remedy="compare with a ResourceSlice of the real driver; please report what differs",
        )
    if limit := parameters.get("memoryLimit"):
        checklist.verify(
            "mps-memory-limit-fits",
            "it has the memory that module 5's clients may use",
            lambda: driver_statements.fits([published(kube, parameters, 0)], limit),
            needs=["devices-published"],
            expected=f"{limit['clients']} times {limit['mib']} MiB",
            simulated=simulated,
            remedy="make mpsMemoryLimit or mpsClients smaller",
        )
    return checklist.to_json()


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
    daemon_set = kube.get(kube.apps.read_namespaced_daemon_set, plugin, namespace)
    found = ownership.described(daemon_set, parameters["chart"])["version"]
    if parameters["version"] and found != parameters["version"]:
        raise CheckFailed(found or "a DaemonSet without chart label")
    return found or f"{namespace}/{plugin}, without chart label"


def _plugin(kube: Kube, parameters: dict[str, Any]) -> str:
    """The pod of the DaemonSet on the node that has the GPU."""
    namespace, plugin = parameters["namespace"], parameters["plugin"]
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
        why = trouble.of_pods(kube, namespace) if namespace else ""
        raise CheckFailed("; ".join(filter(None, (str(error), why)))) from error
    wait_for_nodes(kube, [device.node], parameters["seconds"])
    driver_statements.require_fit([device], parameters.get("memoryLimit"))
    return json.dumps({"uuid": device.uuid})
