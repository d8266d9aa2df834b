"""Module 5: the ways to share a GPU, compared with the same workloads and numbers of clients.

Parameters: kubeconfig, namespace, driverNamespace, plugin, clusterOwned, uuid, stack, sweep (quick
or full), minutes (after which no further cell is begun), claim and pod (after whose model those of
a cell are made), programs (digest of the pod's), gpuDriver and versions (on which figures depend
too), devices, parts (of the comparison, that it measures), last (whether all others are measured
before), withShares (whether the driver is changed for one of them), mpsDaemonset (the lab's own
daemon, {} where there is none: namespace and daemonSet, and pipeDirectory and volumeClaim of its
pipes, as clients have them).

A cell is a way and a number of clients. Its pods are made by the check, start together, measure
all workloads, and are removed; what they printed is kept at once (checks/cells.py).
"""

from contextlib import suppress
from functools import partial
from typing import Any

from checks import cell_pods, clients, mps_daemon, pod_scenario, release, sharing_table
from checks.cell_pods import CellPods
from checks.cells import Cell, Cells
from checks.pod_scenario import LOOK_SECONDS, SECONDS, Output, Parameters, PodCheck, last_json
from checks.result import CheckFailed, CheckSkipped, require
from checks.sharing_ways import BY_DAEMONSET, SWEEPS, WAYS, Way
from checks.steps import Step
from kube.client import Kube
from kube.devices import GPU, MOCKED
from machine.errors import LabError
from machine.gpu_host import DEFAULT_MODE
from machine.waiting import until

NAME = "sharing-comparison"
IN_DRIVER = mps_daemon.IN_DRIVER
PERMISSIONS = (*pod_scenario.PERMISSIONS, *cell_pods.PERMISSIONS)
LEAD_SECONDS = 5.0
"""From the annotation to the start that it names. A client that learns of it later than that works
for less of its warm-up."""
TABLE = "sharing-{}"
"""One for each workload."""


class Comparison(clients.ClientScenario):
    """cells: what is measured, and kept; made: by the check itself."""

    def __init__(self, kube: Kube, parameters: Parameters) -> None:
        super().__init__(kube, parameters)
        self.sweep = SWEEPS[parameters["sweep"]]
        self.cells = Cells(parameters["stack"], parameters["sweep"], parameters["minutes"])
        self.made = CellPods(kube, self.namespace, NAME)
        self.parts: list[str] = parameters["parts"]
        self.is_last: bool = parameters["last"]

    def release_pods(self) -> None:
        """Those of the daemon too, which is at work for one part only."""
        with suppress(LabError):  # of which each cell has told already
            self.made.remove()
            if self.has_daemon:
                self.release_daemon()

    @property
    def has_daemon(self) -> bool:
        return bool(self.parameters["mpsDaemonset"]) and BY_DAEMONSET in self.parts

    def release_daemon(self) -> str:
        daemon = self.parameters["mpsDaemonset"]
        return release.release_daemons(self.kube, daemon["namespace"], daemon["daemonSet"])

    def daemon_released(self) -> str:
        return f"{self.release_daemon()}; {self.daemons().require_mode(DEFAULT_MODE)}"

    # --- cells ------------------------------------------------------------------------------------

    def measure_way(self, way: Way) -> str:
        if reason := way.skipped(self.parameters):
            raise CheckSkipped(reason)
        return self.cells.measure(self.cells_of(way), partial(self.measure, way))

    def cells_of(self, way: Way) -> list[Cell]:
        """None of a way that this lab has not."""
        given = self.parameters
        if way.skipped(given):
            return []
        known = {
            "way": way.name,
            "claim": way.claim(given["claim"])["spec"],
            "pod": way.pod(given["pod"], given)["spec"],
            "options": self.sweep.options,
            "devices": self.devices,
            **{key: given[key] for key in ("uuid", "programs", "gpuDriver", "versions")},
        }
        numbers = way.clients(self.sweep)
        return [Cell(f"{way.name}-{each}", known | {"clients": each}) for each in numbers]

    def measure(self, way: Way, cell: Cell) -> dict[str, Any]:
        """Run the clients of the cell side by side; what they printed."""
        count: int = cell.configuration["clients"]
        with self.made.made(*self.objects(way, cell.name, count)) as pods:
            self.running(*pods)
            self.wait_until_ready(pods)
            ahead = LEAD_SECONDS if self.devices == GPU else 0.0
            self.start_in(dict.fromkeys(pods, ahead))
            outputs = {pod: self.output(pod) for pod in pods}
        self.judge(way, outputs)
        return {"way": way.name, "clients": count, "outputs": [*outputs.values()]}

    def wait_until_ready(self, pods: list[str]) -> None:
        """A client compiles its kernels and allocates its memory before it waits for its start."""

        def look() -> str:
            logs = {pod: self.kube.log(self.namespace, pod) for pod in pods}
            busy = [
                pod
                for pod, log in logs.items()
                if pod_scenario.WAITING not in log and last_json(log) is None
            ]
            return require(not busy, f"{', '.join(busy)} not ready after {SECONDS:.0f} s")

        until(SECONDS, CheckFailed, LOOK_SECONDS)(look)

    def objects(self, way: Way, name: str, count: int) -> tuple[list[Any], list[Any]]:
        """Claims and pods of a cell."""
        given, pods = self.parameters, [f"{name}-{number + 1}" for number in range(count)]
        names = pods if way.own_claims else [name] * count
        claim, pod = way.claim(given["claim"]), way.pod(given["pod"], given)
        claims = [self.made.claim(claim, each) for each in dict.fromkeys(names)]
        return claims, [
            self.made.pod(pod, each, of, self.sweep.options)
            for each, of in zip(pods, names, strict=True)
        ]

    def judge(self, way: Way, outputs: dict[str, Output]) -> None:
        """CheckFailed if they are no cell of that way. On mocked GPUs they start, and compute
        nothing."""
        for name, output in outputs.items():
            if not output.get("start"):
                raise CheckFailed(f"{name}: {output.get('error', 'it did not wait for its start')}")
        late = max(output["start"]["late_seconds"] for output in outputs.values())
        if self.devices != GPU:
            return
        clients.require_no_error(outputs)
        clients.same_gpu(outputs, self.uuid)
        for name, output in outputs.items():
            if output["mps"]["client"] != way.mps:
                raise CheckFailed(f"{name}: {output['mps']['proof']}")
        require(late < self.sweep.warm_up, f"a client began {late:.1f} s after the moment")

    # --- what they say ----------------------------------------------------------------------------

    def kept(self) -> list[dict[str, Any]]:
        """The cells that are measured, now or before."""
        cells = [cell for way in WAYS for cell in self.cells_of(way)]
        return [found for cell in cells if (found := self.cells.kept(cell)) is not None]

    def missing(self) -> str:
        cells = [cell for way in WAYS for cell in self.cells_of(way)]
        return ", ".join(cell.name for cell in cells if self.cells.kept(cell) is None)

    def compared(self) -> str:
        """Which way wins, for each workload and number of clients."""
        kept = self.kept()
        if missing := self.missing():
            raise CheckSkipped(f"needs all cells; missing: {missing}")
        found = {name: winners_of(kept, name) for name in sharing_table.WORKLOADS}
        return "; ".join(f"{name}: {text}" for name, text in found.items())

    def table(self, workload: str) -> dict[str, Any]:
        """Nothing where nothing was measured, or other parts follow."""
        kept = self.kept()
        if not kept or not self.is_last:
            return {}
        first: Output = kept[0]["outputs"][0]
        skipped = {way.name: why for way in WAYS if (why := way.skipped(self.parameters))}
        found = sharing_table.rows(kept, workload)
        table = self.benchmark(
            TABLE.format(workload),
            first["workloads"][workload]["unit"],
            sharing_table.table_rows(found, skipped),
            first,
        )
        table |= {
            "columns": sharing_table.COLUMNS,
            "repeats": self.sweep.repeats,
            "energy_from": sharing_table.energy_from(first, workload),
            "cells": str(self.cells.folder),
        }
        if missing := self.missing():
            return table | {"missing": missing}
        return table | {"winners": winners_of(kept, workload)}


def winners_of(kept: list[dict[str, Any]], workload: str) -> str:
    found = sharing_table.winners(sharing_table.rows(kept, workload))
    return ", ".join(f"{number} clients: {text}" for number, text in found.items())


def step_of(way: Way) -> Step[Comparison]:
    return Step(
        f"way-{way.name}",
        f"measured, cell by cell: {way.title}",
        lambda s: s.measure_way(way),
        lambda s: f"{len(s.cells_of(way))} cells",
        least=MOCKED,
        when=lambda s: way.part in s.parts,
    )


STEPS: tuple[Step[Comparison], ...] = (
    *map(step_of, WAYS),
    Step(
        "comparison-daemon-released",
        "the lab's own daemon ends when its pod is released, and the GPU is everybody's",
        Comparison.daemon_released,
        f"released; {DEFAULT_MODE}",
        least=MOCKED,
        when=lambda s: s.has_daemon,
    ),
    Step(
        "sharing-compared",
        "which way wins, outside the noise",
        Comparison.compared,
        sharing_table.RULE,
        least=GPU,
        when=lambda s: s.is_last,
    ),
    clients.released("sharing-released", ""),
)
CHECK = PodCheck(
    scenario=Comparison,
    steps=STEPS,
    benchmarks={
        TABLE.format(name): partial(Comparison.table, workload=name)
        for name in sharing_table.WORKLOADS
    },
)
run = CHECK.run
