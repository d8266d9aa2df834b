"""Module 2: the chart is installed, its device classes exist, every GPU is published.

Parameters: kubeconfig, namespace, version, nodes (names), gpusPerNode, attributes (names that a
GPU of this driver version must have), uuids (of the GPUs that NVML sees on a real node),
simulated (whether nodes and slices are), memoryLimit (where module 5 is wanted: mib of one client,
clients).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from checks import cluster, devices, trouble
from checks.kube import Kube
from checks.memory import too_much
from checks.result import Checklist, NotSo

CLASSES = {"gpu.nvidia.com", "mig.nvidia.com", "vfio.gpu.nvidia.com"}
PLUGIN = "dra-driver-nvidia-gpu-kubelet-plugin"
SECONDS = 30.0
AGAIN = "run the update again; make kubectl ARGS='get pods -A' shows what hangs"


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    kube = Kube(parameters["kubeconfig"])
    namespace, nodes = parameters["namespace"], parameters["nodes"]
    per_node, simulated = parameters["gpusPerNode"], parameters["simulated"]
    checklist = Checklist(module)
    checklist.verify(
        "chart-version",
        "NVIDIA's chart is installed, in the version that was asked for",
        lambda: _chart(kube, namespace, parameters["version"]),
        expected=parameters["version"],
        remedy=AGAIN,
    )
    checklist.verify(
        "device-classes",
        "the driver's device classes exist",
        lambda: _classes(kube),
        expected=", ".join(sorted(CLASSES)),
        remedy=AGAIN,
    )
    checklist.verify(
        "plugin-ready",
        "the kubelet plugin is ready on every node",
        lambda: _plugin(kube, namespace, len(nodes)),
        needs=["chart-version"],
        expected=f"{len(nodes)} of {len(nodes)}",
        simulated=simulated,
        remedy=AGAIN,
    )
    checklist.verify(
        "devices-published",
        "every GPU is in a ResourceSlice",
        lambda: _published(kube, nodes, per_node, set(parameters["uuids"])),
        expected=f"{len(nodes) * per_node} GPUs",
        simulated=simulated,
        remedy=AGAIN,
    )
    checklist.verify(
        "device-attributes",
        "every GPU is described as this driver version describes it",
        lambda: _attributes(kube, set(parameters["attributes"])),
        needs=["devices-published"],
        expected=", ".join(parameters["attributes"]),
        simulated=simulated,
        remedy="compare with a ResourceSlice of the real driver; please report what differs",
    )
    if limit := parameters.get("memoryLimit"):
        checklist.verify(
            "mps-memory-limit-fits",
            "every GPU has the memory that module 5's clients may use",
            lambda: fits(devices.published(slices(kube)), limit),
            needs=["devices-published"],
            expected=f"{limit['clients']} times {limit['mib']} MiB",
            simulated=simulated,
            remedy="make mpsMemoryLimit or mpsClients smaller",
        )
    return checklist.to_json()


def slices(kube: Kube) -> list[Any]:
    found: list[Any] = kube.get(kube.resource.list_resource_slice).items
    return found


def fits(found: Sequence[devices.Device], limit: dict[str, int]) -> str:
    """That the memory limit fits every GPU as often as there are clients. limit: mib, clients."""
    sizes = []
    for device in found:
        if device.attributes.get("type") != "gpu":
            continue  # a part of one
        size = int(parse_quantity(device.capacity["memory"])) // 2**20
        if problem := too_much(limit["mib"], limit["clients"], size):
            raise NotSo(f"{device.node}/{device.name}: {problem}")
        sizes.append(size)
    return f"{min(sizes)} MiB"


def _chart(kube: Kube, namespace: str, version: str) -> str:
    """The chart names itself on all its objects; the plugin's DaemonSet is the one that counts."""
    daemon = kube.get(kube.apps.read_namespaced_daemon_set, PLUGIN, namespace)
    found = str((daemon.metadata.labels or {}).get("helm.sh/chart", ""))
    if found != f"dra-driver-nvidia-gpu-{version}":
        raise NotSo(found or "a DaemonSet without chart label")
    return version


def _classes(kube: Kube) -> str:
    listed = kube.get(kube.resource.list_device_class).items
    if missing := CLASSES - {item.metadata.name for item in listed}:
        raise NotSo(f"missing: {', '.join(sorted(missing))}")
    return ", ".join(sorted(CLASSES))


def _plugin(kube: Kube, namespace: str, nodes: int) -> str:
    def ready(found: list[Any]) -> int:
        return sum(d.status.number_ready or 0 for d in found)

    found = kube.wait(
        kube.apps.list_namespaced_daemon_set,
        lambda d: ready(d) >= nodes,
        SECONDS,
        namespace=namespace,
        field_selector=f"metadata.name={PLUGIN}",
    )
    text = f"{ready(found)} of {nodes}"
    if ready(found) < nodes:
        raise NotSo(": ".join(filter(None, (text, trouble.of_pods(kube, namespace)))))
    return text


def _published(kube: Kube, nodes: list[str], per_node: int, known: set[str]) -> str:
    found = devices.wait_for(kube, nodes, per_node, SECONDS)
    if len(found) != len(nodes) * per_node:
        raise NotSo(f"{len(found)} GPUs")
    uuids = {device.uuid for device in found}
    if len(uuids) < len(found):
        raise NotSo(f"{len(found)} GPUs, but only {len(uuids)} different UUIDs")
    if known and uuids != known:
        raise NotSo(f"published {sorted(uuids)}, but nvidia-smi sees {sorted(known)}")
    products = {str(device.attributes.get("productName")) for device in found}
    return f"{len(found)} GPUs ({', '.join(sorted(products))})"


def _attributes(kube: Kube, expected: set[str]) -> str:
    for device in devices.published(kube.get(kube.resource.list_resource_slice).items):
        found = set(device.attributes)
        if found != expected:
            lacking, extra = sorted(expected - found), sorted(found - expected)
            raise NotSo(f"{device.node}/{device.name}: lacking {lacking}, not expected {extra}")
        if "memory" not in device.capacity:
            raise NotSo(f"{device.node}/{device.name} has no capacity 'memory'")
    return ", ".join(sorted(expected))


def gate(parameters: dict[str, Any]) -> None:
    """Wait until every node is ready and every GPU published: before, pods would be refused.

    parameters: kubeconfig, namespace (the driver's), nodes, gpusPerNode, seconds, memoryLimit.

    Raises NotSo that says what is missing, or that module 5's memory limit does not fit a GPU.
    """
    kube = Kube(parameters["kubeconfig"])
    seconds = parameters["seconds"]
    cluster.wait_for_nodes(kube, parameters["nodes"], seconds)
    try:
        found = devices.wait_for(kube, parameters["nodes"], parameters["gpusPerNode"], seconds)
    except NotSo as error:
        why = trouble.of_pods(kube, parameters["namespace"])
        raise NotSo("; ".join(filter(None, (str(error), why)))) from error
    if limit := parameters.get("memoryLimit"):
        try:
            fits(found, limit)
        except NotSo as error:
            raise NotSo(f"configuration key 'mpsMemoryLimit': {error}") from error
