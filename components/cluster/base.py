"""What the kinds of clusters have in common."""

from abc import ABC, abstractmethod

import pulumi

from components.check import Program
from components.dra_driver import DraDriver
from components.lab_context import GpuDriver, LabContext


class ClusterKind(ABC):
    """What a kind of cluster needs of this machine, what it makes, and whose driver it has.

    runs_webhook: whether its cluster has NVIDIA's webhook as a process; else the chart runs it.
    """

    runs_webhook = False

    @abstractmethod
    def prerequisites(self, lab: LabContext) -> list[Program]:
        """What module 0 verifies."""

    @abstractmethod
    def provide(self, lab: LabContext, opts: pulumi.ResourceOptions) -> None:
        """Give the lab its cluster and nodes."""

    def driver(self, lab: LabContext) -> GpuDriver:
        """The DRA driver: the lab brings it, by its chart."""
        return DraDriver(lab).driver
