"""All settings of a stack, group by group."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.settings.cluster import ClusterSettings, NodeSettings
from components.settings.driver import DriverSettings
from components.settings.gpu import GpuSettings
from components.settings.lab import LabSettings, WorkloadSettings
from components.settings.mps import MpsSettings
from components.settings.setting import declared_in

GROUPS = {
    "Lab": LabSettings,
    "Cluster": ClusterSettings,
    "Nodes": NodeSettings,
    "GPUs": GpuSettings,
    "DRA driver": DriverSettings,
    "MPS": MpsSettings,
    "Workloads": WorkloadSettings,
}
"""By their headings in docs/configuration.md. A setting may depend on those before it."""
SETTINGS = {
    field: setting for group in GROUPS.values() for field, setting in declared_in(group).items()
}
"""By the names of their fields."""


@dataclass(frozen=True, kw_only=True)
class Settings(
    LabSettings,
    ClusterSettings,
    NodeSettings,
    GpuSettings,
    DriverSettings,
    MpsSettings,
    WorkloadSettings,
):
    """What one stack is to be. configuration: each key with the value that was given for it."""

    stack: str
    configuration: Mapping[str, Any]
