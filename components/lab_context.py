"""What a module builds on: settings, cluster, nodes, driver, and the checks before it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi

from components.check import Check, Program
from components.cluster.cluster import Cluster
from components.drivers import DRIVERS, Driver
from components.modules.registry import Module, closure
from components.runs import Run, run_of
from components.settings import Settings
from components.settings.driver import no_shares
from components.simulated_gpus import devices, mocked

if TYPE_CHECKING:
    from components.cluster.base import ClusterKind
    from components.mps_daemon import MpsDaemon

MPS_NAMESPACE = "dra-mps"
"""Of the MPS daemon that the lab runs itself (components/mps_daemon.py)."""
AWAIT, AWAIT_CONTAINERS = "90s", "3m"
"""How long the provider waits for an object, and where containers really start: an image may have
to be fetched."""


@dataclass(kw_only=True)
class GpuNodes:
    """The nodes that have GPUs, simulated or real.

    names: of the nodes; devices: what they are, as in kube.devices; subjects: change when one of
    them is made anew; made: depend on it for pods; gpus_per_node: how many GPUs each has, 0 where
    only the driver knows; uuids: of the first node's GPUs, as this machine reports them, [] where
    only the driver does; seen: those of all nodes, as nvidia-smi reports them, [] where nobody has
    asked it; driver_root: folder under which the GPU driver lies in them, None for "/"; facts: what
    the stack exports, {} for nothing; checks: programs that module 1 runs for them beside its own;
    mocked: mocked GPUs as the driver has to publish them, [] for GPUs that nobody knows before.
    """

    names: pulumi.Input[list[str]]
    devices: pulumi.Input[str]
    subjects: list[pulumi.Output[str]]
    made: list[pulumi.Resource]
    gpus_per_node: pulumi.Input[int] = 0
    uuids: pulumi.Input[list[str]] = field(default_factory=list)
    seen: pulumi.Input[list[str]] = field(default_factory=list)
    driver_root: pulumi.Input[str] | None = None
    facts: pulumi.Input[dict[str, Any]] = field(default_factory=dict)
    checks: Sequence[Program] = ()
    mocked: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, kw_only=True)
class GpuDriver:
    """A DRA driver, brought by the lab or there already.

    owned: whether the lab brings it; namespace: of its pods; plugin: its DaemonSet; version: which
    it has to be, attributes: by which it describes devices, "" and [] where that is not the lab's
    to decide; classes: that the lab needs; installed: the resources that bring the driver and its
    slices; identity: changes when one of them was made anew; ready: depend on it for nodes that are
    ready and devices that are published; gpu: uuid and node of the one that modules for one GPU
    use; facts: what the stack exports.
    """

    owned: bool
    namespace: pulumi.Input[str]
    plugin: pulumi.Input[str]
    version: str = ""
    attributes: list[str] = field(default_factory=list)
    classes: list[str]
    installed: list[pulumi.Resource]
    identity: list[pulumi.Output[str]]
    ready: pulumi.Resource
    gpu: pulumi.Output[dict[str, str]]
    facts: dict[str, pulumi.Input[Any]]


@dataclass
class LabContext:
    """Grows as the lab is wired; a module finds what the modules before it made.

    kind: of its cluster.
    gpu_users: what leaves the GPU `target` free again; modules that use it take turns.
    outside: what the driver's chart makes outside its namespace, where the cluster is shared.
    cluster, nodes: from module 1 on; driver: from module 2 on; mps_daemon: the lab's own, from
    module 4 on, where `runs_mps_daemon`.
    """

    settings: Settings
    kind: "ClusterKind"
    checks: dict[str, list[Check]] = field(default_factory=dict)
    gpu_users: list[pulumi.Resource] = field(default_factory=list)
    outside: pulumi.Input[list[str]] = field(default_factory=list)
    cluster: Cluster = field(init=False)
    nodes: GpuNodes = field(init=False)
    driver: GpuDriver = field(init=False)
    mps_daemon: "MpsDaemon" = field(init=False)

    @property
    def target(self) -> pulumi.Input[str]:
        """The UUID of the GPU that modules for one GPU use.

        Where neither configuration nor machine know it, it is the first that the driver published.
        """
        return self.known_target or self.driver.gpu["uuid"]

    @property
    def known_target(self) -> pulumi.Input[str]:
        """The same, "" where only the driver knows it."""
        if self.settings.target:
            return self.settings.target
        uuids = self.nodes.uuids
        if isinstance(uuids, list):
            return uuids[0] if uuids else ""
        return pulumi.Output.all(uuids).apply(lambda found: str(found[0][0]))

    @property
    def target_node(self) -> pulumi.Output[str]:
        """The node that has it."""
        return self.driver.gpu["node"]

    @property
    def runs_mps_daemon(self) -> bool:
        """Whether the lab runs one itself."""
        return self.settings.mps != "driver" and self.has("4")

    @property
    def mps_namespaces(self) -> list[str]:
        """Those of MPS daemons of the lab's own; on its own cluster also of an earlier update."""
        return [MPS_NAMESPACE] if self.runs_mps_daemon or self.cluster.owned else []

    @property
    def kind_of_driver(self) -> Driver:
        return DRIVERS[self.settings.driver]

    @property
    def modules(self) -> list[Module]:
        """The modules of the stack, with those that they need."""
        return closure(self.settings.modules)

    def has(self, module: str) -> bool:
        """Whether the module of that id is one of them."""
        return any(each.id == module for each in self.modules)

    @property
    def needs_driver(self) -> bool:
        """A bare cluster needs none."""
        return any("driver" in module.requires for module in self.modules)

    @property
    def mocked(self) -> bool:
        """Whether the nodes get mocked GPUs, which a bare cluster does not need."""
        return self.settings.gpus == "mocked" and self.needs_driver

    def mocked_gpus(self, node: str) -> list[dict[str, Any]]:
        """What that node's mocked GPU driver is to know of, [] where there is none."""
        if not self.mocked:
            return []
        return mocked(node, self.settings.gpus_per_node, self.settings.gpu_profile)

    def mocked_devices(self, nodes: Iterable[str]) -> list[dict[str, Any]]:
        """The same GPUs of all nodes, as NVIDIA's driver publishes them."""
        if not self.mocked:
            return []
        count, profile = self.settings.gpus_per_node, self.settings.gpu_profile
        version, shares = self.settings.driver_version, self.settings.consumable_shares
        return [gpu for node in nodes for gpu in devices(node, count, profile, version, shares)]

    @property
    def webhook_in_chart(self) -> bool:
        """Whether the driver's chart runs NVIDIA's webhook, rather than the cluster."""
        return self.settings.webhook and not self.kind.runs_webhook

    @property
    def consumable_shares(self) -> str | None:
        """How several claims are to have a GPU, None where that is not the lab's to decide."""
        ours = self.settings.install_driver and self.settings.driver == "nvidia"
        return self.settings.consumable_shares if ours else None

    @property
    def memory_limit(self) -> dict[str, int] | None:
        """What clients of MPS may use of a GPU, None where no limit is wanted."""
        limited = self.has("5") or self.runs_mps_daemon
        if not limited or not self.settings.mps_memory_mib:
            return None
        return {"mib": self.settings.mps_memory_mib, "clients": self.settings.mps_clients}

    @property
    def may_change_driver(self) -> bool:
        """Whether its driver may run with consumable shares for a while: it is NVIDIA's and the
        lab's own, its plugin really runs, and the versions have them."""
        settings = self.settings
        own = self.cluster.owned and settings.driver == "nvidia" and settings.node != "simulated"
        return own and not no_shares(settings.driver_version, settings.kubernetes_version)

    @property
    def changes_driver(self) -> bool:
        """Whether a check of module 5 has it run so."""
        return self.may_change_driver and self.has("5") and bool(self.settings.sweep)

    def run_of(self, check: str, observed: Sequence[Path] = (), variant: str = "") -> Run:
        """The run that the check is in, on the lab's cluster."""
        return run_of(self.settings.stack, check, self.cluster.start_id, observed, variant)

    def objects(
        self, parent: pulumi.Resource | None, *after: pulumi.Resource
    ) -> pulumi.ResourceOptions:
        """Options for Kubernetes objects on the lab's cluster.

        On a cluster that is destroyed as a whole its objects go with it. They have fixed names,
        so an old one must be gone before its replacement is made; where the cluster itself is a
        new one, "gone" is what the provider finds there. The provider waits until they work, or
        are gone, but not for ever.
        """
        longest = AWAIT if self.settings.node == "simulated" else AWAIT_CONTAINERS
        return pulumi.ResourceOptions(
            parent=parent,
            provider=self.cluster.provider,
            depends_on=list(after),
            deleted_with=self.cluster.disposable,
            delete_before_replace=True,
            custom_timeouts=pulumi.CustomTimeouts(create=longest, update=longest, delete=AWAIT),
        )
