"""The CDI spec of the GPU driver as module 0 sees it."""

from __future__ import annotations

from typing import Any

from checks.prerequisites import gpus
from checks.result import CheckFailed, CheckSkipped
from machine import cdi, gpu_host, kind_node_needs


class Spec:
    """The CDI spec of this machine, and what a node needs by it; filled as statements ask."""

    def __init__(self, host: gpus.Host, chosen: tuple[str, ...], strategy: str) -> None:
        self.host = host
        self.chosen = chosen
        self.strategy = strategy
        self.spec: dict[str, Any] = {}
        self.needs = kind_node_needs.NodeNeeds(strategy)

    def found(self) -> str:
        self.spec = gpu_host.described()
        version = cdi.driver_version(self.spec) or "of an unknown version"
        return f"driver {version}, devices {', '.join(cdi.device_names(self.spec)) or cdi.ALL}"

    def fresh(self) -> str:
        """What lies in a file is as old as its last writing."""
        installed = cdi.installed()
        if installed is None:
            raise CheckSkipped("no file in /etc/cdi or /var/run/cdi; nvidia-ctk tells when asked")
        path, spec = installed
        assert self.host.driver is not None  # noqa: S101
        found = cdi.driver_version(spec)
        if found != self.host.driver.version:
            unused = gpu_host.toolkit() is not None
            raise CheckFailed(f"{path} is for driver {found or 'unknown'}", warning=unused)
        return f"{path}: {found}"

    def devices(self) -> str:
        names = set(cdi.device_names(self.spec))
        if not names:
            raise CheckSkipped("it names all GPUs as one")
        for index, gpu in enumerate(self.host.gpus):
            if not names & {str(index), gpu.uuid}:
                raise CheckFailed(f"GPU {index} ({gpu.uuid}) is not in the spec")
        return f"all of {len(self.host.gpus)}"

    def subset(self) -> str:
        known = {gpu.uuid for gpu in self.host.gpus}
        known |= {str(index) for index in range(len(self.host.gpus))}
        if unknown := [name for name in self.chosen if name not in known | {cdi.ALL}]:
            raise CheckFailed(f"{', '.join(unknown)}; there are {', '.join(sorted(known))}")
        return ", ".join(self.chosen) or cdi.ALL

    def mounts(self) -> str:
        needs = kind_node_needs.for_node(self.spec, self.chosen, self.strategy)
        self.needs = kind_node_needs.settled(needs)
        notes = "".join(f"; {note}" for note in self.needs.notes)
        return f"{len(self.needs.mounts)} mounts, {len(self.needs.devices)} device nodes{notes}"

    def places(self) -> str:
        if self.strategy != "toolkit":
            raise CheckSkipped("the strategy cdi puts the driver where the plugin looks")
        if odd := kind_node_needs.unsearched(self.spec):
            raise CheckFailed(", ".join(odd))
        return "in the usual places"
