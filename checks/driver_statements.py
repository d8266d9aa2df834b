"""What is verified of a driver both on a cluster of the lab's own (checks/modules/driver.py) and on
one that it shares (checks/shared_driver.py)."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from checks.result import CheckFailed
from checks.steps import Scenario, Step
from kube import devices
from kube.client import Kube
from kube.pods import explain_unready
from kube.quantity import mebibytes, too_much
from machine.errors import LabError

SECONDS = 30.0
NUMA_NODE = "resource.kubernetes.io/numaNode"
"""Not published of a GPU for which the kernel knows none, as in many virtual machines."""
ALONE = "one claim at a time"
NO_LIMIT = "set mpsMemoryLimit=none: module 5 then shows thread percentages only"
AGAIN = (
    "run: make up, which makes again what was deleted from the cluster; "
    "make kubectl ARGS='get pods -A' shows what hangs"
)


class DriverScenario(Scenario, ABC):
    """Parameters: of checks/modules/driver.py. which: its GPUs, as titles name them."""

    which: str
    remedy = AGAIN

    def __init__(self, kube: Kube, parameters: Mapping[str, Any]) -> None:
        self.kube, self.parameters = kube, parameters
        self.devices = parameters.get("devices", devices.GPU)
        self.ours: bool = parameters.get("driverOwned", False)
        self.version: str = parameters.get("version", "")
        self.driver: str = parameters["driver"]
        self.namespace: str = parameters.get("namespace", "")
        self.plugin: str = parameters.get("plugin", "")
        self.shares: str | None = parameters.get("consumableShares")

    @abstractmethod
    def gpus(self) -> Sequence[devices.Device]:
        """Those that the driver publishes now."""

    def daemon_set(self) -> Any:
        read = self.kube.apps.read_namespaced_daemon_set
        return self.kube.get(read, self.plugin, self.namespace)

    def device_classes(self) -> str:
        expected = set(self.parameters["classes"])
        listed = self.kube.get(self.kube.resource.list_device_class).items
        if missing := expected - {item.metadata.name for item in listed}:
            raise CheckFailed(f"missing: {', '.join(sorted(missing))}")
        return self.expected_classes()

    def expected_classes(self) -> str:
        return ", ".join(sorted(self.parameters["classes"]))

    def device_attributes(self) -> str:
        """That devices have the attributes expected and, unless they are GPUs or their model has
        none, memory. Returns the attributes that all of them have."""
        expected = set(self.parameters["attributes"])
        common = expected
        known = self.devices != devices.GPU and self.parameters["ownMemory"]
        for device in self.gpus():
            found, place = set(device.attributes), f"{device.node}/{device.name}"
            common = common & found
            if found not in (expected, expected - {NUMA_NODE}):
                lacking, extra = sorted(expected - found), sorted(found - expected)
                raise CheckFailed(f"{place}: lacking {lacking}, not expected {extra}")
            if known and "memory" not in device.capacity:
                raise CheckFailed(f"{place} has no capacity 'memory'")
        return ", ".join(sorted(common))

    def as_wanted(self, device: devices.Device) -> bool:
        """Whether the driver publishes it already as it is configured."""
        return self.shares is None or devices.shares(device) == self.shares

    def consumable_shares(self) -> str:
        for device in self.gpus():
            if (found := devices.shares(device)) != self.shares:
                raise CheckFailed(f"{device.node}/{device.name}: {found or ALONE}")
        return self.shares or ALONE

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Add to an error what keeps the driver's pods, where its namespace is known."""
        try:
            yield
        except LabError as error:
            why = explain_unready(self.kube, self.namespace) if self.namespace else ""
            raise CheckFailed("; ".join(filter(None, (str(error), why)))) from error


def fits(found: Sequence[devices.Device], limit: Mapping[str, int]) -> str:
    """That the memory limit fits every GPU as often as there are clients. limit: mib, clients.

    Raises CheckFailed for a GPU that has too little memory, or none of its own (of which a driver
    from 0.4.0 on publishes none): MPS limits the memory of the device only."""
    sizes = []
    for device in found:
        if device.attributes.get("type") != "gpu":
            continue  # a part of one
        memory = device.capacity.get("memory")
        size = mebibytes(memory) if memory else None
        if problem := too_much(limit["mib"], limit["clients"], size):
            remedy = NO_LIMIT if size is None else ""
            raise CheckFailed(f"{device.node}/{device.name}: {problem}", remedy=remedy)
        sizes.append(size or 0)
    return f"{min(sizes)} MiB" if sizes else "no whole GPU"


def require_fit(found: Sequence[devices.Device], limit: Mapping[str, int] | None) -> None:
    """Raise CheckFailed, naming the configuration key, unless the memory limit, if any, fits."""
    try:
        if limit is not None:
            fits(found, limit)
    except LabError as error:
        text = "; ".join(filter(None, (str(error), error.remedy)))
        raise CheckFailed(f"configuration key 'mpsMemoryLimit': {text}") from error


DEVICE_STEPS: tuple[Step[DriverScenario], ...] = (
    Step("device-attributes",
         lambda s: f"{s.which} is described as this driver version describes it",
         DriverScenario.device_attributes, lambda s: ", ".join(s.parameters["attributes"]),
         needs="devices-published", when=lambda s: s.ours,
         remedy="compare with a ResourceSlice of the real driver; please report what differs"),
    Step("consumable-shares",
         lambda s: f"several claims may have parts of {s.which}",
         DriverScenario.consumable_shares, lambda s: s.shares or ALONE,
         needs="devices-published", when=lambda s: bool(s.shares)),
    Step("mps-memory-limit-fits",
         lambda s: f"{s.which} has the memory that module 5's clients may use",
         lambda s: fits(s.gpus(), s.parameters["memoryLimit"]),
         lambda s: "{clients} times {mib} MiB".format(**s.parameters["memoryLimit"]),
         needs="devices-published",
         when=lambda s: bool(s.parameters.get("memoryLimit")),
         remedy="make mpsMemoryLimit or mpsClients smaller"),
)  # fmt: skip
