"""What the driver publishes: the devices in its ResourceSlices, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kube.errors import KubeError

if TYPE_CHECKING:  # the graph has facts from here, and loads no client
    from kube.client import Kube

DRIVER = "gpu.nvidia.com"
CONFIG_VERSION = "resource.nvidia.com/v1beta1"
"""Of the opaque parameters that NVIDIA's driver reads."""
GPU, MOCKED, MOCK, SIMULATED = "gpu", "mocked", "mock", "simulated"
"""What devices are: GPUs; mocked GPUs, which NVIDIA's driver takes for real ones; inventions of the
example driver on real nodes; simulated, as their nodes are."""
LEVELS = (SIMULATED, MOCK, MOCKED, GPU)
"""How real they are, least real first."""
NOT_REAL = {
    MOCKED: "this node's GPUs are mocked",
    MOCK: "this driver's devices are mocks",
    SIMULATED: "this node is simulated",
}
BASIS: dict[str, Literal["real", "mocked", "simulated"]] = {
    GPU: "real",
    MOCKED: "mocked",
    MOCK: "mocked",
    SIMULATED: "simulated",
}
"""What a statement about them rests on."""


@dataclass(frozen=True)
class Device:
    """One device of a slice; attributes without their type, capacity as Kubernetes writes it;
    model: the client's object."""

    driver: str
    pool: str
    name: str
    node: str
    attributes: dict[str, str | int | bool]
    capacity: dict[str, str]
    model: Any = None

    @property
    def uuid(self) -> str:
        return str(self.attributes.get("uuid", ""))

    @property
    def product(self) -> str:
        """Drivers differ in what they call it."""
        return str(self.attributes.get("productName") or self.attributes.get("model", "unnamed"))


def shares(device: Device) -> str:
    """How several claims may have it, as NVIDIA's driver is told (--consumable-shares): memory,
    unlimited, or in how many shares; "" where one claim has it alone."""
    if not device.model.allow_multiple_allocations:
        return ""
    if "shares" in device.capacity:
        return device.capacity["shares"]
    memory = (device.model.capacity or {}).get("memory")
    policy = memory.request_policy if memory else None
    return "memory" if policy and policy.default != "0" else "unlimited"


def too_unreal(devices: str, least: str = GPU) -> str:
    """Why what needs `least` is not verified on these devices."""
    return f"needs a GPU{', real or mocked' if least == MOCKED else ''}: {NOT_REAL[devices]}"


def published(slices: list[Any], driver: str = DRIVER) -> list[Device]:
    """The driver's devices, in the newest slices of their pools; incomplete pools count too."""
    own = [s for s in slices if s.spec.driver == driver]
    newest: dict[str, int] = {}
    for pool in (item.spec.pool for item in own):
        newest[pool.name] = max(newest.get(pool.name, 0), pool.generation)
    return [
        Device(
            driver,
            item.spec.pool.name,
            device.name,
            item.spec.node_name or "",
            {name: _value(value) for name, value in (device.attributes or {}).items()},
            {name: str(value.value) for name, value in (device.capacity or {}).items()},
            device,
        )
        for item in own
        if item.spec.pool.generation == newest[item.spec.pool.name]
        for device in item.spec.devices or []
    ]


def read_published(kube: "Kube", driver: str) -> list[Device]:
    """The driver's devices, as the cluster has them now."""
    return published(kube.get(kube.resource.list_resource_slice).items, driver)


def _value(attribute: Any) -> str | int | bool:
    kinds = (getattr(attribute, kind, None) for kind in ("string", "version", "int", "bool"))
    return next((value for value in kinds if value is not None), "")


def wait_for(
    kube: "Kube",
    nodes: list[str],
    per_node: int,
    seconds: float,
    driver: str = DRIVER,
    *,
    exactly: bool = False,
    wanted_shares: str | None = None,
) -> list[Device]:
    """Every expected GPU, as soon as all are published.

    exactly: and no others, which a driver withdraws when it is configured for fewer; wanted_shares:
    and with these shares, None for any; what is not so at the deadline comes back too. Raises
    KubeError at the deadline, naming each node and how many of its GPUs are missing.
    """

    def missing(devices: list[Device]) -> dict[str, int]:
        counts = {node: sum(d.node == node for d in devices) for node in nodes}
        return {node: per_node - count for node, count in counts.items() if count < per_node}

    def settled(slices: list[Any]) -> bool:
        found = published(slices, driver)
        as_wanted = wanted_shares is None or all(shares(d) == wanted_shares for d in found)
        more = exactly and len(found) > per_node * len(nodes)
        return not missing(found) and not more and as_wanted

    slices = kube.wait(
        kube.resource.list_resource_slice,
        settled,
        seconds,
        what=f"{counted(per_node, 'GPU')} of {', '.join(nodes)} in slices of {driver}",
    )
    devices = published(slices, driver)
    if short := missing(devices):
        names = ", ".join(f"{count} of {per_node} on {node}" for node, count in short.items())
        raise KubeError(f"after {seconds:.0f} s these GPUs are in no slice of {driver}: {names}")
    return devices


def allocation_results(claim: Any) -> list[Any]:
    """What the scheduler has allocated to the claim (the API's DeviceRequestAllocationResult)."""
    allocation = claim.status.allocation if claim.status else None
    return (allocation.devices.results if allocation and allocation.devices else None) or []


def gpu_config(sharing: Mapping[str, Any], requests: Sequence[str] = ()) -> dict[str, Any]:
    """An entry of a claim's `config` by which NVIDIA's driver shares its GPU. requests: of the
    claim that it is for, none for all."""
    parameters = {"apiVersion": CONFIG_VERSION, "kind": "GpuConfig", "sharing": dict(sharing)}
    opaque = {"driver": DRIVER, "parameters": parameters}
    return {"requests": [*requests], "opaque": opaque} if requests else {"opaque": opaque}


def counted(number: int, noun: str) -> str:
    """As in "1 GPU" and "2 GPUs"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def allocated(claim: Any, devices: list[Device]) -> Device:
    """The device that a claim with one request got. Raises KubeError while it has none."""
    results = allocation_results(claim)
    if not results:
        raise KubeError("no device")
    result = results[0]
    for device in devices:
        if (device.pool, device.name) == (result.pool, result.device):
            return device
    raise KubeError(f"{result.pool}/{result.device}, which is in no ResourceSlice")
