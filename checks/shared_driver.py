"""Module 2 on a cluster that the lab shares: the one GPU that it may use, and the driver that
publishes it. Other nodes, their devices and their drivers are left alone.

Parameters as in checks/modules/driver.py. target: the GPU's UUID, "" where no module needs one;
driverOwned: whether the lab brought the driver, which must then have this version and attributes;
namespace and plugin are "" where the driver's DaemonSet is not known."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from checks.driver_statements import AGAIN, DEVICE_STEPS, SECONDS, DriverScenario, require_fit
from checks.result import CheckFailed, CheckSkipped
from checks.steps import Step, verify
from kube import devices, ownership
from kube.client import Kube
from kube.conditions import condition, wait_for_nodes
from kube.devices import LEVELS
from kube.permissions import DRA, on
from kube.pods import describe

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


class SharedDriver(DriverScenario):
    which = "it"

    def __init__(self, kube: Kube, parameters: Mapping[str, Any]) -> None:
        super().__init__(kube, parameters)
        self.target: str = parameters["target"]
        self.remedy = AGAIN if self.ours else OF_OTHERS

    def gpu(self, seconds: float) -> devices.Device:
        """The target, or where none is named the first device by the names of its node and itself.

        Raises CheckFailed if it is not published at the deadline, or more than once.
        """

        def chosen(slices: list[Any]) -> Sequence[devices.Device]:
            found = devices.published(slices, self.driver)
            return [device for device in found if self.target in ("", device.uuid)]

        slices = self.kube.wait(
            self.kube.resource.list_resource_slice,
            lambda found: any(self.as_wanted(device) for device in chosen(found)),
            seconds,
            what=f"{self.target or 'a device'} in a slice of {self.driver}",
        )
        found = chosen(slices)
        if not found:
            what = self.target or "no device"
            raise CheckFailed(f"after {seconds:.0f} s {what} is in no slice of {self.driver}")
        if self.target:
            ownership.the_one(found, self.target)
        return min(found, key=lambda device: (device.node, device.name))

    def gpus(self) -> list[devices.Device]:
        return [self.gpu(0)]

    def devices_published(self) -> str:
        device = self.gpu(SECONDS)
        return f"{device.name} on {device.node} ({device.product})"

    def require_plugin(self) -> None:
        if not self.plugin:
            raise CheckSkipped("which DaemonSet brings the driver is not known")

    def daemon_set(self) -> Any:
        self.require_plugin()
        return super().daemon_set()

    def chart_version(self) -> str:
        found = ownership.described(self.daemon_set(), self.parameters["chart"])["version"]
        if self.ours and found != self.version:
            raise CheckFailed(found or "a DaemonSet without chart label")
        return found or f"{self.namespace}/{self.plugin}, without chart label"

    def plugin_ready(self) -> str:
        """The pod of the DaemonSet on the node that has the GPU."""
        self.require_plugin()
        node = self.gpu(0).node

        def here(pods: list[Any]) -> list[Any]:
            return [
                pod
                for pod in pods
                if pod.spec.node_name == node
                and any(owner.name == self.plugin for owner in pod.metadata.owner_references or [])
            ]

        def ready(pods: list[Any]) -> bool:
            states = [condition(pod, "Ready") for pod in here(pods)]
            return any(state is not None and state.status == "True" for state in states)

        pods = self.kube.wait(
            self.kube.core.list_namespaced_pod,
            ready,
            SECONDS,
            what=f"the pod of {self.namespace}/{self.plugin} on {node}",
            namespace=self.namespace,
        )
        if not ready(pods):
            why = describe(here(pods)[0]) if here(pods) else "it has no pod there"
            raise CheckFailed(f"on {node}: {why}")
        return f"ready on {node}"


STEPS: tuple[Step[SharedDriver], ...] = (
    Step("chart-version",
         lambda s: "the driver's chart is installed"
                   + (", in the version asked for" if s.ours else ""),
         SharedDriver.chart_version, lambda s: s.version if s.ours else "any", real_on=LEVELS),
    Step("device-classes", "the device classes that the lab uses exist",
         SharedDriver.device_classes, SharedDriver.expected_classes, real_on=LEVELS),
    Step("devices-published", "the GPU is in a ResourceSlice",
         SharedDriver.devices_published, lambda s: s.target or f"a device of {s.driver}"),
    Step("plugin-ready", "the kubelet plugin is ready on its node",
         SharedDriver.plugin_ready, "ready",
         needs=lambda s: "devices-published" if s.plugin else ""),
    *DEVICE_STEPS,
)  # fmt: skip


def run(kube: Kube, module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return verify(module, STEPS, SharedDriver(kube, parameters)).to_json()


def gate(kube: Kube, parameters: dict[str, Any]) -> str:
    """Wait until the GPU is published and its node ready; see `checks.modules.driver.gate`."""
    scenario = SharedDriver(kube, parameters)
    with scenario.explained():
        device = scenario.gpu(parameters["seconds"])
    wait_for_nodes(kube, [device.node], parameters["seconds"])
    require_fit([device], parameters.get("memoryLimit"))
    return json.dumps({"uuid": device.uuid, "node": device.node})
