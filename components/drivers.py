"""The DRA drivers that a lab can have: what their charts install, and what they publish."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import semver

from components.simulated_gpus import attribute_names
from kube.devices import GPU, MOCK
from toolchain.images import EXAMPLE_DRIVER_IMAGE


@dataclass(frozen=True)
class Driver:
    """name: of chart, release and namespace; plugin: of the DaemonSet on the nodes; domain: by
    which its devices are known; classes: DeviceClasses of the chart, the first for whole devices;
    devices: what they are."""

    name: str
    plugin: str
    domain: str
    classes: tuple[str, ...]
    devices: str


DRIVERS: Mapping[str, Driver] = {
    "nvidia": Driver(
        "dra-driver-nvidia-gpu",
        "dra-driver-nvidia-gpu-kubelet-plugin",
        "gpu.nvidia.com",
        ("gpu.nvidia.com", "mig.nvidia.com", "vfio.gpu.nvidia.com"),
        GPU,
    ),
    "example": Driver(
        "dra-example-driver",
        "dra-example-driver-kubeletplugin",
        "gpu.example.com",
        ("gpu.example.com",),
        MOCK,
    ),
}


def attributes(driver: str, version: str) -> list[str]:
    """What each device is described by, sorted."""
    if driver == "example":
        return ["driverVersion", "index", "model", "uuid"]
    return attribute_names(version)


def feature_gates(version: str, shares: str = "") -> dict[str, bool]:
    """Those of NVIDIA's driver that are on. shares: the setting consumableShares.

    MPSSupport brings the RBAC rules for the MPS daemons. TimeSlicingSettings, with which a claim
    may name a time slice, is not for GPUs that MPS shares: whenever a claim is unprepared, one with
    admin access too, it puts the GPU back into compute mode DEFAULT. Up to 0.4 it is needed there:
    an MPS claim leaves the GPU in EXCLUSIVE_PROCESS mode without it (pull request 1270). With
    ConsumableShares the driver prepares no claim for MPS. MPSSupport stays on: without it the
    driver would not undo what it prepared before, and its webhook would refuse every change of such
    a claim, the last one of its removal too.
    """
    gates = {"MPSSupport": True}
    if shares:
        gates["ConsumableShares"] = True
    if shares or semver.Version.parse(version) < semver.Version(0, 5, 0):
        gates["TimeSlicingSettings"] = True
    return gates


def gate_list(version: str, shares: str = "") -> str:
    """The same as the driver's programs take them."""
    return ",".join(f"{name}=true" for name in sorted(feature_gates(version, shares)))


def values(
    driver: str,
    version: str,
    devices: pulumi.Input[int],
    driver_root: pulumi.Input[str] | None = None,
    shared: bool = False,
    mocked: bool = False,
    webhook: pulumi.Input[dict[str, Any]] | None = None,
    shares: str = "",
) -> dict[str, Any]:
    """The values of the driver's chart, for a lab with GPUs and without ComputeDomains.

    devices: on each node, which only mocks need to know; driver_root: folder of the node under
    which the GPU driver lies as distributions have it, None for the chart's own, "/". shared:
    whether the cluster is one of others: its nodes have no image of set-up, those of the charts
    are in registries, and mocks are as many as the chart says. mocked: whether the GPU driver is
    a mocked one, which has the files of its GPUs in /sys too. webhook: how the chart runs its
    webhook, None where it does not. shares: the setting consumableShares.

    computeDomains off: they need a newer GPU driver and an NVLink fabric. NVMLDeviceHealthCheck has
    the driver taint a GPU that reports an error, which a mocked one does when it is told to.
    """
    if driver == "example":
        repository, _, tag = EXAMPLE_DRIVER_IMAGE.partition(":")
        image = {"repository": repository, "tag": tag}
        return {} if shared else {"image": image, "kubeletPlugin": {"numDevices": devices}}
    gates = feature_gates(version, shares)
    found: dict[str, Any] = {
        "gpuResourcesEnabledOverride": True,
        "resources": {"computeDomains": {"enabled": False}},
        "featureGates": gates,
    }
    if shares:
        found["consumableShares"] = shares
    if mocked:
        gates["NVMLDeviceHealthCheck"] = True
        sysfs = {"name": "NVIDIA_DRA_SYSFS_ROOT", "value": "/driver-root/sys"}
        found["kubeletPlugin"] = {"containers": {"gpus": {"env": [sysfs]}}}
    if webhook is not None:
        found["webhook"] = webhook
    return found if driver_root is None else found | {"nvidiaDriverRoot": driver_root}
