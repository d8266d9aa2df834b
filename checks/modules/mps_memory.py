"""Module 5: a client of MPS gets no more memory than its limit, and others do not suffer for it.

Parameters: kubeconfig, namespace, uuid, sharePercentage, limitMib, under and over (MiB that must
and must not be granted), versions, simulated. The pods are clients of the claim `memory`:
`neighbour` works while the others ask for memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checks import clients, pod_start
from checks.clients import Told
from checks.modules.mps_sharing import LEAD_SECONDS
from checks.percentages import MEASURED_SMS, MOST_CV, expected_sms
from checks.pod_scenario import PodScenario, Verify
from checks.result import CheckFailed, Checklist
from kube.client import Kube
from kube.devices import NO_GPU, SIMULATED
from machine.errors import LabError

CLAIM = "memory"
TABLE = "mps-memory-limit"
NEIGHBOUR, ALLOCATOR, RAISER, ESCAPER = PODS = ("neighbour", "allocator", "raiser", "escaper")
BEHIND_SECONDS = 4.0
"""The others begin so long after the neighbour, when it has warmed up and measures, for 8 s."""
GRANTED, REFUSED = "granted", "CUDA_ERROR_OUT_OF_MEMORY"


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    scenario = opened(parameters)
    simulated = parameters["simulated"]
    checklist = Checklist(module)
    verify = scenario.verifier(checklist, simulated)
    verify("memory-running", "the clients run", lambda: scenario.running(*PODS), "Running")
    verify(
        "memory-allocated",
        "their claim, with a memory limit, has the GPU that it names, for all of them",
        lambda: f"{scenario.allocated(CLAIM)} for {scenario.reserved(CLAIM, PODS)}",
        f"{scenario.uuid} for {', '.join(sorted(PODS))}",
        "memory-running",
    )
    if simulated:
        for identity, title in LIMITS.items():
            checklist.skip(identity, title, NO_GPU[SIMULATED], simulated=True)
        checklist.benchmarks = {
            TABLE: {"skipped": NO_GPU[SIMULATED]},
            "pod-start": {"skipped": NO_GPU[SIMULATED]},
        }
    else:
        verify_limits(scenario, verify)
        checklist.benchmarks = tables(scenario, parameters["versions"])
    verify(
        "memory-ended",
        "the clients end, and nothing holds the GPU",
        scenario.freed,
        "pending",
        "memory-running",
    )
    return checklist.to_json()


def release_pods(parameters: dict[str, Any]) -> None:
    """Have the pods end: none of them may keep the GPU."""
    opened(parameters).release_pods(*PODS)


def opened(parameters: dict[str, Any]) -> Memory:
    return Memory(Kube(parameters["kubeconfig"]), parameters)


LIMITS = {
    "memory-asked": "every client answered, as a client of MPS on that GPU",
    "limits-read-back": "a client reads back its limits: free memory and SMs",
    "under-limit-served": "memory below the limit is granted",
    "over-limit-refused": "memory above the limit is refused",
    "neighbour-unharmed": "the neighbour goes on working while others are refused",
    "limits-not-raised": "a client whose environment asks for more gets neither memory nor SMs",
    "limit-not-dropped": "a client that names a GPU which it does not see keeps its memory limit",
}


def verify_limits(scenario: Memory, verify: Verify) -> None:
    """What only a GPU can show."""

    def limit(identity: str, probe: Any, expected: str, **more: Any) -> None:
        verify(identity, LIMITS[identity], probe, expected, "memory-asked", **more)

    verify(
        "memory-asked",
        LIMITS["memory-asked"],
        scenario.asked,
        f"{len(PODS)} answers",
        "memory-allocated",
    )
    limit(
        "limits-read-back",
        scenario.read_back,
        f"at most {scenario.limit} MiB free, the SMs of {scenario.share} % where they are known",
    )
    limit(
        "under-limit-served",
        lambda: scenario.results(ALLOCATOR, scenario.under, GRANTED),
        GRANTED,
        remedy="CUDA itself takes some of the limit, the more the more SMs it has: raise "
        "mpsMemoryLimit or lower mpsSharePercentage",
    )
    limit(
        "over-limit-refused", lambda: scenario.results(ALLOCATOR, scenario.over, REFUSED), REFUSED
    )
    limit(
        "neighbour-unharmed", scenario.unharmed, "it measures meanwhile, and ends without an error"
    )
    limit(
        "limits-not-raised", scenario.not_raised, f"as {ALLOCATOR}, whose environment asks nothing"
    )
    limit(
        "limit-not-dropped",
        scenario.not_dropped,
        REFUSED,
        failure="warning",
        remedy="known of MPS (seen with driver 580): its memory limit binds those who go along "
        "with it; let only pods that you trust share a claim",
    )


class Memory(PodScenario):
    """told: pod → what it printed; started: how soon they ran."""

    def __init__(self, kube: Kube, parameters: Mapping[str, Any]) -> None:
        super().__init__(kube, parameters["namespace"], parameters["uuid"])
        self.limit: int = parameters["limitMib"]
        self.under: list[int] = parameters["under"]
        self.over: list[int] = parameters["over"]
        self.share: int = parameters["sharePercentage"]
        self.told: dict[str, Told] = {}
        self.started: dict[str, Any] = {}

    def asked(self) -> str:
        self.start_together(LEAD_SECONDS, [NEIGHBOUR])
        self.start_together(LEAD_SECONDS + BEHIND_SECONDS, [ALLOCATOR, RAISER, ESCAPER])
        told = {name: self.said(name) for name in PODS}
        self.told = told
        clients.without_error({name: found for name, found in told.items() if name != NEIGHBOUR})
        seen = {name: found for name, found in told.items() if "device" in found}
        clients.same_gpu(seen, self.uuid)
        clients.are_clients(seen)
        self.started = pod_start.table(self, told)
        return f"{len(told)} answers"

    def read_back(self) -> str:
        told = self.told[ALLOCATOR]
        free, total = told["memory"]["free_mib"], told["memory"]["total_mib"]
        sms = told["device"]["sm_count"]
        text = f"{free:.0f} MiB free of {total:.0f} MiB, {sms} SMs at {self.share} %"
        gpu = told["device"]["name"]
        least, most = 0, sms
        if gpu in MEASURED_SMS:
            least, most = expected_sms(gpu, self.share, MEASURED_SMS[gpu][100])
        if free > self.limit or not least <= sms <= most:
            raise CheckFailed(text)
        return text

    def results(self, name: str, sizes: list[int], wanted: str) -> str:
        """That each of these sizes was granted, or refused, as wanted."""
        tried = {each["mib"]: each["result"] for each in self.told[name]["allocations"]}
        text = ", ".join(f"{size} MiB: {tried.get(size, 'not tried')}" for size in sizes)
        if any(tried.get(size) != wanted for size in sizes):
            raise CheckFailed(f"{name}: {text}")
        return text

    def unharmed(self) -> str:
        """That the others asked while it measured, and that it shows nothing of it."""
        told = self.told[NEIGHBOUR]
        clients.without_error({NEIGHBOUR: told})
        start, end = clients.window(told)
        moments = [
            each["at"] for name in PODS[1:] for each in self.told[name].get("allocations", [])
        ]
        meanwhile = [moment for moment in moments if start <= moment <= end]
        fma = told["measures"]["fma"]
        text = (
            f"{len(meanwhile)} of {len(moments)} requests came while it measured; "
            f"{fma['median']:.2f} TFLOPS, variation {fma['cv']:.2%}"
        )
        if len(meanwhile) < len(moments) or not moments or fma["cv"] > MOST_CV:
            raise CheckFailed(text)
        return text

    def not_raised(self) -> str:
        text = self.results(RAISER, self.over, REFUSED)
        ours, theirs = (self.told[name]["device"]["sm_count"] for name in (ALLOCATOR, RAISER))
        free = self.told[RAISER]["memory"]["free_mib"]
        text = f"{theirs} SMs, {free:.0f} MiB free, {text} (asked: {asked(self.told[RAISER])})"
        if theirs > ours or free > self.limit:
            raise CheckFailed(text)
        return text

    def not_dropped(self) -> str:
        told = self.told[ESCAPER]
        asked = told["environment"].get("CUDA_MPS_PINNED_DEVICE_MEM_LIMIT", "nothing")
        try:
            return f"{self.results(ESCAPER, self.over[1:], REFUSED)} (asked: {asked})"
        except LabError as error:
            free = told["memory"]["free_mib"]
            raise CheckFailed(
                f"CUDA_MPS_PINNED_DEVICE_MEM_LIMIT={asked} drops the memory limit: {free:.0f} MiB "
                f"free; {error}; {told['device']['sm_count']} SMs as before"
            ) from error

    def freed(self) -> str:
        self.end(*PODS)
        return self.unallocated(CLAIM)


def tables(scenario: Memory, versions: Mapping[str, str]) -> dict[str, Any]:
    """What each client asked for and got; nothing where nothing was measured."""
    told = {name: found for name, found in scenario.told.items() if "allocations" in found}
    if not told:
        return {}
    rows = [
        {
            "client": name,
            "limit_mib": scenario.limit,
            "asked_mib": each["mib"],
            "result": each["result"],
            "free_mib": found["memory"]["free_mib"],
            "sm_count": found["device"]["sm_count"],
            "asked_of_mps": asked(found),
        }
        for name, found in told.items()
        for each in found["allocations"]
    ]
    first = next(iter(told.values()))
    table: dict[str, Any] = {
        "module": "5",
        "name": TABLE,
        "unit": "MiB",
        "rows": rows,
        "environment": clients.environment(first, versions),
    }
    if "fma" in told.get(NEIGHBOUR, {}).get("measures", {}):
        table["neighbour"] = clients.row(NEIGHBOUR, told[NEIGHBOUR])
    return {TABLE: table} | ({"pod-start": scenario.started} if scenario.started else {})


def asked(told: Told) -> str:
    """What the client's environment asked of MPS, where it lies aside."""
    return ", ".join(
        f"{name}={value}"
        for name, value in told["environment"].items()
        if name.startswith("CUDA_MPS_") and not name.endswith("_DIRECTORY")
    )
