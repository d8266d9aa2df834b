"""Wrong opaque configurations of claims, where NVIDIA's driver 0.5.0 refuses each, and its words.

docs/modules/module4.md has the same table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ADMISSION, PREPARE, NOWHERE = "admission", "prepare", "nowhere"


@dataclass(frozen=True)
class Wrong:
    """what: for people; refused: where first; words: NVIDIA's, in part. What is refused at
    admission is refused at prepare too, in the same words."""

    what: str
    parameters: dict[str, Any]
    refused: str
    words: str

    @property
    def row(self) -> str:
        """As the documentation has it."""
        words = f"`{self.words}`" if self.words else "it is passed over"
        return f"| {self.what} | {self.refused} | {words} |"


def config(kind: str = "GpuConfig", **sharing: Any) -> dict[str, Any]:
    head = {"apiVersion": "resource.nvidia.com/v1beta1", "kind": kind}
    return head | ({"sharing": sharing} if sharing else {})


def mps(**limits: Any) -> dict[str, Any]:
    return config(strategy="MPS", mpsConfig=limits)


RIGHT = mps(defaultActiveThreadPercentage=50, defaultPinnedDeviceMemoryLimit="1Gi")
WRONG = {
    "small-letters": Wrong(
        "`strategy: mps`",
        config(strategy="mps", mpsConfig={"defaultActiveThreadPercentage": 50}),
        ADMISSION,
        "unknown GPU sharing strategy: mps, supported GPU sharing strategies: TimeSlicing, MPS",
    ),
    "percentage-as-text": Wrong(
        '`defaultActiveThreadPercentage: "50%"`',
        mps(defaultActiveThreadPercentage="50%"),
        ADMISSION,
        "json: cannot unmarshal string into Go struct field "
        "MpsConfig.sharing.mpsConfig.defaultActiveThreadPercentage of type int",
    ),
    "percentage-150": Wrong(
        "`defaultActiveThreadPercentage: 150`",
        mps(defaultActiveThreadPercentage=150),
        ADMISSION,
        "active thread percentage must not be greater than 100",
    ),
    "unknown-field": Wrong(
        "`activeThreadPercentage: 50`",
        mps(activeThreadPercentage=50),
        ADMISSION,
        'strict decoding error: unknown field "sharing.mpsConfig.activeThreadPercentage"',
    ),
    "memory-unit": Wrong(
        "`defaultPinnedDeviceMemoryLimit: 1 GiB`",
        mps(defaultPinnedDeviceMemoryLimit="1 GiB"),
        ADMISSION,
        "quantities must match the regular expression "
        "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    ),
    "old-api": Wrong(
        "`apiVersion: gpu.nvidia.com/v1alpha1`",
        config(strategy="MPS") | {"apiVersion": "gpu.nvidia.com/v1alpha1"},
        ADMISSION,
        'no kind "GpuConfig" is registered for version "gpu.nvidia.com/v1alpha1"',
    ),
    "other-strategys-block": Wrong(
        "`mpsConfig` beside `strategy: TimeSlicing`",
        config(strategy="TimeSlicing", mpsConfig={"defaultActiveThreadPercentage": 50}),
        ADMISSION,
        '"TimeSlicing" is selected as the GPU sharing strategy, but the "TimeSlicingSettings" '
        "feature gate is not enabled",
    ),
    "memory-below-1mi": Wrong(
        "`defaultPinnedDeviceMemoryLimit: 512Ki`",
        mps(defaultPinnedDeviceMemoryLimit="512Ki"),
        PREPARE,
        "invalid limit: default value set too low",
    ),
    "kind-for-mig": Wrong(
        "`kind: MigDeviceConfig` for a whole GPU",
        config("MigDeviceConfig", strategy="MPS"),
        NOWHERE,
        "",
    ),
}
PASSED_OVER = "kind-for-mig"
FOR_ONE_REQUEST = 'cannot apply MigDeviceConfig to device "gpu-'
"""How it is refused where it is for one of several requests. From Kubernetes 1.37 on the scheduler
writes a configuration for all requests as one that names none, and of such a one the driver does
without what is not for the device. Which GPU a request gets is the scheduler's to say."""


def claim(name: str, parameters: dict[str, Any], *, requests: int = 1) -> dict[str, Any]:
    """A claim for so many GPUs, and these parameters for the first."""
    opaque = {"driver": "gpu.nvidia.com", "parameters": parameters}
    exactly = {"deviceClassName": "gpu.nvidia.com"}
    wanted = [{"name": f"gpu-{number}", "exactly": exactly} for number in range(requests)]
    config = {"requests": ["gpu-0"], "opaque": opaque}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"devices": {"requests": wanted, "config": [config]}},
    }
