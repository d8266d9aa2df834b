"""Node images of kind, and the feature gates of DRA that each version of Kubernetes knows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import semver

from machine.files import read_json

DIGESTS: Mapping[str, str] = {
    "1.37.0": "a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5",
    "1.36.4": "099e049362a1526b2db71494e1947aae99bd16290d7c895f2b7ea312e3cbfaed",
    "1.35.8": "07b2536e30b803ed61d1677a79df6115f798ce64c80f9e22f6ed45afd09323c0",
    "1.34.11": "44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d",
}
"""sha256 of the kindest/node images that kind 0.33.0 was released with (its release notes)."""

OFFLINE = Path(".tools/kind/kind-node.json")
"""What `make kind-node-image` built."""

GATES_BY_MINOR: Mapping[int, tuple[str, ...]] = {
    26: ("DynamicResourceAllocation",),
    32: ("DRAAdminAccess", "DRAResourceClaimDeviceStatus"),
    33: ("DRAPrioritizedList", "DRAPartitionableDevices", "DRADeviceTaints"),
    34: (
        "DRAConsumableCapacity", "DRAExtendedResource", "DRADeviceBindingConditions",
        "DRASchedulerFilterTimeout",
    ),
    35: ("DRADeviceTaintRules",),
    36: (
        "DRANodeAllocatableResources", "DRAListTypeAttributes", "DRAWorkloadResourceClaims",
        "DRAResourceClaimGranularStatusAuthorization", "DRAResourcePoolStatus",
    ),
    37: (
        "DRAFractionalCapacityRange", "DRADerivedAttributes", "DRADeviceCompatibilityGroups",
        "DRAOptionalNodeOperations", "DRAPartitionableDevicesType",
    ),
}  # fmt: skip
"""Minor version of Kubernetes → the gates of DRA that came with it; none has gone since (the
feature gates page of kubernetes.io). An unknown one makes kubeadm fail after a minute, without a
reason."""
GATES = {gate: minor for minor, gates in GATES_BY_MINOR.items() for gate in gates}


def versions() -> list[str]:
    """Of the image that was built here, then of kind's own, newest first."""
    built = offline().get("kubernetes")
    return list(dict.fromkeys([*([built] if built else []), *DIGESTS]))


def reference(version: str) -> str:
    """The image of a version in DIGESTS, by its digest."""
    return f"kindest/node:v{version}@sha256:{DIGESTS[version]}"


def unknown_gate(gate: str, version: str) -> str:
    """Why that Kubernetes would refuse the gate, "" where it knows it or nothing is known."""
    if gate not in GATES:
        if gate.startswith("DRA"):
            return f"there is no such gate of DRA; gates: {', '.join(GATES)}"
        return ""
    if semver.Version.parse(version).minor < GATES[gate]:
        return f"Kubernetes {version} does not know it; it came with 1.{GATES[gate]}"
    return ""


def offline() -> Mapping[str, Any]:
    """What `make kind-node-image` built (reference, kubernetes, archive), {} if it has not."""
    return read_json(OFFLINE)


def image_of(given: str, version: str) -> str:
    """The reference of the image that nodes of that version are made of."""
    own = offline()
    built = own["reference"] if own.get("kubernetes") == version else ""
    return given or built or reference(version)
