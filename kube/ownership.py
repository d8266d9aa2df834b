"""What is on a cluster that others use too: its GPU nodes and who owns them, drivers, claims.

Pure functions on API objects, for the preflight (checks/prerequisites/existing.py) and for what the
stack exports (operations/existing/cluster.py)."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kube.conditions import is_true
from kube.devices import DRIVER as NVIDIA
from kube.devices import GPU, MOCK, SIMULATED, Device, allocation_results
from kube.errors import KubeError
from kube.permissions import DRA, on, plural, within
from kube.quantity import parse
from machine import identity

if TYPE_CHECKING:  # the graph has facts from here, and loads no client
    from kube.client import Kube

OLDEST = "1.34.2"
"""DRA is stable since 1.34, but kubelets of 1.34.0 and 1.34.1 hang after half an hour without a
claim (kubernetes issue 133920)."""
KWOK = "kwok.x-k8s.io/node"
PLUGIN_RESOURCES = ("nvidia.com/gpu", "nvidia.com/mig-")
"""Prefixes of what NVIDIA's device plugin offers in a node's capacity."""
GPU_LABELS = {
    "nvidia.com/gpu.present": "true",
    "feature.node.kubernetes.io/pci-10de.present": "true",
    "feature.node.kubernetes.io/pci-0302_10de.present": "true",
    "feature.node.kubernetes.io/pci-0300_10de.present": "true",
    "feature.node.kubernetes.io/cpu-model.vendor_id": "NVIDIA",
}
"""Nodes with one of these run the plugin of NVIDIA's chart (its node affinity)."""
CHART = "helm.sh/chart"
OLD_CHARTS = {"dra-driver-nvidia-gpu": ("nvidia-dra-driver-gpu",)}
"""Earlier names of a chart, which brings the same driver."""
LAB = "dra-workshop/lab"
"""Label of the lab's namespaces on a shared cluster; its value is the lab's id."""
RELEASED_IN = "meta.helm.sh/release-namespace"
"""Annotation by which Helm names the owner of an object."""
NOT_FOUND = 404
FOREVER = "kube-system"
"""The namespace that is made with a cluster and goes with it; its uid tells clusters apart."""
PERMISSIONS = (
    *on("nodes", "list"),
    *on("namespaces", "list"),
    *within(FOREVER, on("namespaces", "get")),
    *on("daemonsets", "list", group="apps"),
    *on("resourceslices", "list", group=DRA),
    *on("resourceclaims", "list", group=DRA),
)
"""Of the preflight, and of attaching to the cluster and detaching from it."""
FORBIDS = ("NoSchedule", "NoExecute")


@dataclass(frozen=True)
class GpuNode:
    """published: number of the driver's devices; plugin: resource of a device plugin → number."""

    name: str
    simulated: bool
    published: int
    plugin: dict[str, int]

    def __str__(self) -> str:
        owners = [f"{self.published} devices of the driver"] if self.published else []
        owners += [f"device plugin: {count} {name}" for name, count in self.plugin.items()]
        simulated = ", simulated" if self.simulated else ""
        return f"{self.name} ({'; '.join(owners) or 'nobody'}{simulated})"


def is_simulated(node: Any) -> bool:
    return (node.metadata.annotations or {}).get(KWOK) == "fake"


def offered(node: Any) -> dict[str, int]:
    """What a device plugin offers on the node."""
    capacity = (node.status.capacity if node.status else None) or {}
    return {
        name: count
        for name, quantity in sorted(capacity.items())
        if name.startswith(PLUGIN_RESOURCES) and (count := int(parse(quantity)))
    }


def gpu_nodes(nodes: Iterable[Any], published: Sequence[Device]) -> list[GpuNode]:
    """The nodes of which a driver, a device plugin or a label says that they have GPUs."""
    found, devices = [], Counter(device.node for device in published)
    for node in nodes:
        labels, name = node.metadata.labels or {}, node.metadata.name
        gpu_node = GpuNode(name, is_simulated(node), devices[name], offered(node))
        if gpu_node.published or gpu_node.plugin or GPU_LABELS.items() & labels.items():
            found.append(gpu_node)
    return found


def summary(nodes: Sequence[GpuNode]) -> dict[str, Any]:
    """How many there are, and what all of them have together, in a fixed number of keys."""
    plugin = sum((Counter(node.plugin) for node in nodes), Counter[str]())
    return {
        "count": len(nodes),
        "simulated": sum(node.simulated for node in nodes),
        "published": sum(node.published for node in nodes),
        "devicePlugin": dict(sorted(plugin.items())),
    }


def in_words(nodes: Sequence[GpuNode]) -> str:
    """The summary, then every node."""
    if not nodes:
        return "none that can be told"
    all_ = summary(nodes)
    text = f"{all_['count']} with {all_['published']} devices of the driver"
    text += "".join(f", {count} {name}" for name, count in all_["devicePlugin"].items())
    return f"{text}: {', '.join(map(str, nodes))}"


def of_both(nodes: Iterable[GpuNode]) -> list[str]:
    """The nodes on which two owners give out the same GPUs without knowing of each other."""
    return [str(node) for node in nodes if node.published and node.plugin]


def the_one(published: Iterable[Device], uuid: str) -> Device | None:
    """The device with that UUID, None if no slice has it. Raises KubeError if several do."""
    found = [device for device in published if device.uuid == uuid]
    if len(found) > 1:
        where = ", ".join(f"{device.pool}/{device.name}" for device in found)
        raise KubeError(f"{uuid} is published more than once: {where}")
    return found[0] if found else None


def holders(claims: Iterable[Any], device: Device) -> list[str]:
    """The claims, namespace/name, to which the device is allocated."""
    wanted = (device.driver, device.pool, device.name)
    return _select(claims, lambda result: (result.driver, result.pool, result.device) == wanted)


def users(claims: Iterable[Any], driver: str) -> list[str]:
    """The claims, namespace/name, to which a device of the driver is allocated."""
    return _select(claims, lambda result: result.driver == driver)


def _select(claims: Iterable[Any], is_meant: Callable[[Any], bool]) -> list[str]:
    """A claim for administrators looks and takes nothing, so it does not count."""
    return [
        f"{claim.metadata.namespace}/{claim.metadata.name}"
        for claim in claims
        if any(is_meant(each) and not each.admin_access for each in allocation_results(claim))
    ]


def drivers(daemon_sets: Iterable[Any], chart: str, plugin: str) -> list[Any]:
    """The DaemonSets that bring the driver: by their chart, under its old name too, or their own
    name."""
    return [
        item
        for item in daemon_sets
        if described(item, chart)["version"] or item.metadata.name == plugin
    ]


def described(daemon_set: Any, chart: str) -> dict[str, str]:
    """Where a driver is: namespace, plugin (its DaemonSet), and version of its chart, "" if the
    DaemonSet does not name it."""
    label = (daemon_set.metadata.labels or {}).get(CHART, "")
    names = [name for name in (chart, *OLD_CHARTS.get(chart, ())) if label.startswith(f"{name}-")]
    return {
        "namespace": daemon_set.metadata.namespace,
        "plugin": daemon_set.metadata.name,
        "version": label.removeprefix(f"{names[0]}-") if names else "",
    }


def unusable(node: Any) -> str:
    """Why the lab's pods, which tolerate nothing, would not run on the node, "" if they would."""
    if not is_true(node, "Ready"):
        return "it is not ready"
    if node.spec and node.spec.unschedulable:
        return "it is cordoned"
    taints = (node.spec.taints if node.spec else None) or []
    found = [f"{taint.key}:{taint.effect}" for taint in taints if taint.effect in FORBIDS]
    return f"it is tainted {', '.join(found)}" if found else ""


def kind_of_devices(nodes: Sequence[GpuNode], where: str, driver: str) -> str:
    """GPU, MOCK or SIMULATED, as the node `where` is; "" where the driver has yet to publish the
    device: a plugin does that on real nodes only, so it is simulated if all of them are."""
    candidates = [node for node in nodes if where in ("", node.name)]
    if candidates and all(node.simulated for node in candidates):
        return SIMULATED
    return GPU if driver == NVIDIA else MOCK


def is_ours(metadata: Any, stack: str) -> bool:
    label = (metadata.labels or {}).get(LAB)
    return bool(label and label == identity.known(stack))


def read_object(kube: "Kube", thing: str) -> dict[str, Any] | None:
    """The object "apiVersion Kind name", which lies in no namespace; None if there is none.

    Raises KubeError if it may not be read.
    """
    version, kind, name = thing.split(" ", 2)
    try:
        return dict(json.loads(kube.text(f"/apis/{version}/{plural(kind)}/{name}")))
    except KubeError as error:
        if getattr(error.__cause__, "status", None) == NOT_FOUND:
            return None
        raise


def namespaces_of(kube: "Kube", lab: str) -> list[str]:
    """The namespaces with the label of the lab of that id."""
    listed = kube.get(kube.core.list_namespace, label_selector=f"{LAB}={lab}").items
    return [namespace.metadata.name for namespace in listed]


def leftovers(
    kube: "Kube", lab: str, namespaces: Iterable[str], outside: Iterable[str]
) -> list[str]:
    """What of the lab of that id is on the cluster: namespaces with its label, and those of the
    objects `outside` namespaces that a release in one of `namespaces` made."""
    found = [f"Namespace {name}" for name in namespaces_of(kube, lab)]
    for thing in outside:
        metadata = (read_object(kube, thing) or {}).get("metadata") or {}
        annotations = metadata.get("annotations") or {}
        if annotations.get(RELEASED_IN) in set(namespaces):
            found.append(thing)
    return found
