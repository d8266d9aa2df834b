"""What is verified of a driver both on a cluster of the lab's own (checks/modules/driver.py) and on
one that it shares (checks/shared_driver.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from checks.result import CheckFailed, Checklist
from kube import devices
from kube.client import Kube
from kube.quantity import mebibytes, too_much
from machine.errors import LabError

SECONDS = 30.0


NO_LIMIT = "set mpsMemoryLimit=none: module 5 then shows thread percentages only"


AGAIN = (
    "run: make up, which makes again what was deleted from the cluster; "
    "make kubectl ARGS='get pods -A' shows what hangs"
)


def slices(kube: Kube) -> list[Any]:
    found: list[Any] = kube.get(kube.resource.list_resource_slice).items
    return found


def fits(found: Sequence[devices.Device], limit: dict[str, int]) -> str:
    """That the memory limit fits every GPU as often as there are clients. limit: mib, clients.

    Raises CheckFailed for a GPU that has too little memory, or none of its own (of which a driver
    from 0.4.0 on publishes none): MPS limits the memory of the device only."""
    sizes = []
    for device in found:
        if device.attributes.get("type") != "gpu":
            continue  # a part of one
        if "memory" not in device.capacity:
            raise CheckFailed(
                f"{device.node}/{device.name} ({device.product}) uses the machine's memory, and "
                "MPS limits only that of a GPU",
                remedy=NO_LIMIT,
            )
        size = mebibytes(device.capacity["memory"])
        if problem := too_much(limit["mib"], limit["clients"], size):
            raise CheckFailed(f"{device.node}/{device.name}: {problem}")
        sizes.append(size)
    return f"{min(sizes)} MiB" if sizes else "no whole GPU"


def add_memory_limit(
    checklist: Checklist,
    limit: dict[str, int],
    title: str,
    found: Callable[[], Sequence[devices.Device]],
    *,
    simulated: bool,
) -> None:
    checklist.verify(
        "mps-memory-limit-fits",
        title,
        lambda: fits(found(), limit),
        f"{limit['clients']} times {limit['mib']} MiB",
        "make mpsMemoryLimit or mpsClients smaller",
        needs=["devices-published"],
        simulated=simulated,
    )


def add_attributes(
    checklist: Checklist,
    attributes: list[str],
    title: str,
    found: Callable[[], Sequence[devices.Device]],
    *,
    made_up: bool,
) -> None:
    """made_up: the devices are not GPUs, so that every one has memory of its own."""
    checklist.verify(
        "device-attributes",
        title,
        lambda: described_by(found(), set(attributes), made_up),
        ", ".join(attributes),
        "compare with a ResourceSlice of the real driver; please report what differs",
        needs=["devices-published"],
        simulated=made_up,
    )


def require_fit(found: Sequence[devices.Device], limit: dict[str, int] | None) -> None:
    """Raise CheckFailed, naming the configuration key, unless the memory limit, if any, fits."""
    if limit is None:
        return
    try:
        fits(found, limit)
    except LabError as error:
        text = "; ".join(filter(None, (str(error), error.remedy)))
        raise CheckFailed(f"configuration key 'mpsMemoryLimit': {text}") from error


def classes(kube: Kube, expected: set[str]) -> str:
    listed = kube.get(kube.resource.list_device_class).items
    if missing := expected - {item.metadata.name for item in listed}:
        raise CheckFailed(f"missing: {', '.join(sorted(missing))}")
    return ", ".join(sorted(expected))


def described_by(published: Sequence[devices.Device], expected: set[str], with_memory: bool) -> str:
    """That the attributes are those expected. with_memory: whether every device has memory of its
    own; a GPU that uses the machine's is published without."""
    for device in published:
        found = set(device.attributes)
        if found != expected:
            lacking, extra = sorted(expected - found), sorted(found - expected)
            raise CheckFailed(
                f"{device.node}/{device.name}: lacking {lacking}, not expected {extra}"
            )
        if with_memory and "memory" not in device.capacity:
            raise CheckFailed(f"{device.node}/{device.name} has no capacity 'memory'")
    return ", ".join(sorted(expected))
