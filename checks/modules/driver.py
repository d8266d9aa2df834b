"""Module 2: the chart is installed, its device classes exist, every GPU is published.

Parameters: kubeconfig, namespace, chart (its name), plugin (its DaemonSet), driver (name by which
its devices are known), classes, version, nodes (names), gpusPerNode, attributes (names that a
device of this driver version must have), ownMemory (whether each is known to have memory), uuids
(of the GPUs that NVML sees on a real node), devices (what they are), mocked (mocked GPUs, as the
API has the devices of a slice), memoryLimit (where module 5 is wanted: mib of one client, clients),
consumableShares (the setting; None for a driver that is not the lab's).

clusterOwned: whether the lab made the cluster. Of a shared one only the driver knows how many GPUs
there are; one of them, target, is looked at (checks/shared_driver.py).
"""

import json
from collections.abc import Mapping
from typing import Any

from checks import shared_driver
from checks.driver_statements import DEVICE_STEPS, SECONDS, DriverScenario, require_fit
from checks.result import CheckFailed
from checks.steps import Step, verify
from kube import devices
from kube.client import Kube, announced
from kube.conditions import wait_for_nodes
from kube.devices import LEVELS, counted
from kube.errors import KubeError
from kube.pods import explain_unready
from machine.waiting import until

PERMISSIONS, IN_DRIVER = shared_driver.PERMISSIONS, shared_driver.IN_DRIVER
PUBLISHED_SECONDS = 60.0
"""A kubelet that starts withdraws the slices of its node. The plugin, which went on, publishes them
again when it next looks, which can be half a minute later."""
UNSTAMPED = "0.0.0-dev"
"""Version of a chart as it lies among its sources; its image tells the driver's."""


def values_in(device: Mapping[str, Any]) -> dict[str, Any]:
    """All that a device in a slice says of itself, by path, but not whether it is well."""
    found: dict[str, Any] = {}

    def add(path: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, each in value.items():
                add(f"{path}.{key}" if path else key, each)
        else:
            found[path] = value

    add("", {key: value for key, value in device.items() if key != "taints"})
    return found


class OwnDriver(DriverScenario):
    which = "every GPU"

    def __init__(self, kube: Kube, parameters: Mapping[str, Any]) -> None:
        super().__init__(kube, parameters)
        self.nodes: list[str] = parameters["nodes"]
        self.per_node: int = parameters["gpusPerNode"]

    def chart_version(self) -> str:
        """The chart names itself on all its objects; the plugin's DaemonSet is what counts."""
        chart = self.parameters["chart"]
        daemon_set = self.daemon_set()
        found = (daemon_set.metadata.labels or {}).get("helm.sh/chart", "")
        if found == f"{chart}-{UNSTAMPED}":
            (container, *_) = daemon_set.spec.template.spec.containers
            found = f"{chart}-{container.image.rpartition(':')[2].removeprefix('v')}"
        if found != f"{chart}-{self.version}":
            raise CheckFailed(found or "a DaemonSet without chart label")
        return self.version

    def plugin_ready(self) -> str:
        nodes = len(self.nodes)

        def ready(found: list[Any]) -> int:
            return sum(daemon_set.status.number_ready or 0 for daemon_set in found)

        found = self.kube.wait(
            self.kube.apps.list_namespaced_daemon_set,
            lambda found: ready(found) >= nodes,
            SECONDS,
            what=f"DaemonSet {self.namespace}/{self.plugin}",
            namespace=self.namespace,
            field_selector=f"metadata.name={self.plugin}",
        )
        text = f"{ready(found)} of {nodes}"
        if ready(found) < nodes:
            why = explain_unready(self.kube, self.namespace)
            raise CheckFailed(": ".join(filter(None, (text, why))))
        return text

    def gpus(self) -> list[devices.Device]:
        return devices.read_published(self.kube, self.driver)

    def wait_for_gpus(self, seconds: float, *, exactly: bool = False) -> list[devices.Device]:
        return devices.wait_for(
            self.kube,
            self.nodes,
            self.per_node,
            seconds,
            self.driver,
            exactly=exactly,
            wanted_shares=self.shares,
        )

    def wait_for_webhook(self, seconds: float) -> None:
        """Try a claim, which is not stored, until the webhook answers."""
        exactly = {"deviceClassName": self.driver}
        claim = {
            "metadata": {"name": "webhook-answers"},
            "spec": {"devices": {"requests": [{"name": "gpu", "exactly": exactly}]}},
        }
        create = self.kube.resource.create_namespaced_resource_claim
        with announced("NVIDIA's admission webhook", seconds):
            until(seconds, KubeError)(self.kube.get, create, self.namespace, claim, dry_run="All")

    def devices_published(self) -> str:
        found = self.wait_for_gpus(PUBLISHED_SECONDS, exactly=True)
        gpus, uuids = counted(len(found), "GPU"), {device.uuid for device in found}
        known = set(self.parameters["uuids"])
        if len(found) != len(self.nodes) * self.per_node:
            raise CheckFailed(gpus)
        if len(uuids) < len(found):
            raise CheckFailed(f"{gpus}, but only {counted(len(uuids), 'different UUID')}")
        if known and uuids != known:
            raise CheckFailed(f"published {sorted(uuids)}, but nvidia-smi sees {sorted(known)}")
        return f"{gpus} ({', '.join(sorted({device.product for device in found}))})"

    def devices_as_mocked(self) -> str:
        to_json = self.kube.api.sanitize_for_serialization
        published = {gpu.uuid: values_in(to_json(gpu.model)) for gpu in self.gpus()}
        for gpu in self.parameters["mocked"]:
            found = published.get(gpu["attributes"]["uuid"]["string"], {})
            given = values_in(gpu)
            if differing := sorted({key for key, _ in given.items() ^ found.items()}):
                texts = (f"{key} {found.get(key)}, not {given.get(key)}" for key in differing)
                raise CheckFailed(f"{gpu['name']}: {', '.join(texts)}")
        return counted(len(published), "GPU")


STEPS: tuple[Step[OwnDriver], ...] = (
    Step("chart-version", "the driver's chart is installed, in the version that was asked for",
         OwnDriver.chart_version, lambda s: s.version, real_on=LEVELS),
    Step("device-classes", "the driver's device classes exist",
         OwnDriver.device_classes, OwnDriver.expected_classes, real_on=LEVELS),
    Step("plugin-ready", "the kubelet plugin is ready on every node",
         OwnDriver.plugin_ready, lambda s: f"{len(s.nodes)} of {len(s.nodes)}",
         needs="chart-version"),
    Step("devices-published", "every GPU is in a ResourceSlice",
         OwnDriver.devices_published, lambda s: counted(len(s.nodes) * s.per_node, "GPU")),
    Step("devices-as-mocked", "every mocked GPU is published as the mocked driver describes it",
         OwnDriver.devices_as_mocked, "the same attributes, capacity and shares",
         needs="devices-published", when=lambda s: bool(s.parameters.get("mocked"))),
    *DEVICE_STEPS,
)  # fmt: skip


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    kube = Kube(parameters["kubeconfig"])
    if not parameters["clusterOwned"]:
        return shared_driver.run(kube, module, parameters)
    return verify(module, STEPS, OwnDriver(kube, parameters)).to_json()


def gate(parameters: dict[str, Any]) -> str:
    """Wait until every node is ready and every GPU published: before, pods would be refused.

    parameters: kubeconfig, namespace, driver and consumableShares (see above), nodes, gpusPerNode,
    seconds, memoryLimit, webhook (true where the driver's chart runs one: claims would be refused
    until it answers), gpu (the one that modules use, "" for the first by the names of its node and
    itself). Returns {"uuid": of that GPU, "node": its node} as JSON, "" where none is expected.

    Raises CheckFailed that says what is missing, or that module 5's memory limit does not fit a
    GPU."""
    kube, seconds = Kube(parameters["kubeconfig"]), parameters["seconds"]
    if not parameters["clusterOwned"]:
        return shared_driver.gate(kube, parameters)
    wait_for_nodes(kube, parameters["nodes"], seconds)
    scenario = OwnDriver(kube, parameters)
    with scenario.explained():
        found = scenario.wait_for_gpus(seconds)
        if scenario.shares is not None:
            scenario.consumable_shares()
        if parameters.get("webhook"):
            scenario.wait_for_webhook(seconds)
    require_fit(found, parameters.get("memoryLimit"))
    on_nodes = sorted((d.node, d.name, d.uuid) for d in found if d.node in scenario.nodes)
    chosen = [each for each in on_nodes if parameters["gpu"] in ("", each[-1])]
    node, _, uuid = chosen[0] if chosen else ("", "", "")
    return json.dumps({"uuid": uuid, "node": node})
