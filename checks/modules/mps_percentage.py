"""Module 5: a thread percentage buys so many SMs and no more, alone and beside others.

Parameters: kubeconfig, namespace, uuid, percentages (of the sweep, each with a claim and a Job
percentage-N), sharePercentage and pods (clients of the claim `share`), versions, simulated.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from checks import clients, pod_start
from checks.clients import Told
from checks.modules.mps_sharing import LEAD_SECONDS, LEAST_IN_COMMON
from checks.pod_scenario import SECONDS, PodScenario, Verify
from checks.result import CheckFailed, Checklist
from kube.client import Kube, condition, describe
from kube.devices import NO_GPU, SIMULATED
from kube.permissions import on

SHARE = "share"
PERMISSIONS = (*on("jobs", "list", "watch", group="batch"), *pod_start.PERMISSIONS)
"""In the namespace, beside the scene's."""
TABLE = "mps-thread-percentage"
JOB_NAME = "batch.kubernetes.io/job-name"
"""The label by which the Job controller marks a Job's pods."""
MOST_UNEVEN = 0.02
"""Between the steps of the sweep: TFLOPS of one SM at the same clock."""
LEAST_JAIN = 0.999
MOST_CV = 0.05
GRANULARITY = 2
"""SMs come in pairs (TPCs): 50 % of 42 SMs is 20, 25 % of 188 is 46 (A100, RTX PRO 6000)."""
MOST_LEAST = 8
"""What 1 % buys on Hopper; other architectures give less (2 on Ada)."""
MEASURED_SMS: dict[str, dict[int, int]] = {
    "NVIDIA H200": {100: 132, 50: 66, 20: 26, 10: 12, 1: 8},
}
"""GPU → percentage → SMs, where it was measured: docs/results/gpu-benchmark-2026-11-21.md."""


def expected_sms(gpu: str, percentage: int, all_sms: int) -> tuple[int, int]:
    """The least and the most SMs that a client may see at this percentage.

    What was measured on that GPU, else the largest even number that is not above the percentage;
    where that is less than the least that a GPU gives at all, which is not known for every one,
    2 to 8.
    """
    if (known := MEASURED_SMS.get(gpu, {}).get(percentage)) is not None:
        return known, known
    even = all_sms * percentage // 100 // GRANULARITY * GRANULARITY
    return (even, even) if even >= MOST_LEAST else (GRANULARITY, MOST_LEAST)


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    scenario = opened(parameters)
    simulated = parameters["simulated"]
    checklist = Checklist(module)
    verify = scenario.verifier(checklist, simulated)
    verify_allocation(scenario, verify)
    if simulated:
        for identity, title in MEASURED.items():
            checklist.skip(identity, title, NO_GPU[SIMULATED], simulated=True)
        checklist.benchmarks = {
            TABLE: {"skipped": NO_GPU[SIMULATED]},
            "pod-start": {"skipped": NO_GPU[SIMULATED]},
        }
    else:
        verify_sweep(scenario, verify)
        verify_share(scenario, verify)
        checklist.benchmarks = tables(scenario, parameters["versions"])
    verify(
        "share-ended",
        "the clients end, and nothing holds the GPU",
        scenario.freed,
        "pending",
        "share-running",
    )
    return checklist.to_json()


def release_pods(parameters: dict[str, Any]) -> None:
    """Have the pods end: none of them may keep the GPU."""
    scenario = opened(parameters)
    scenario.release_pods(*scenario.pods)


def opened(parameters: dict[str, Any]) -> Percentages:
    return Percentages(Kube(parameters["kubeconfig"]), parameters)


def verify_allocation(scenario: Percentages, verify: Verify) -> None:
    """What the API says, on every node."""
    steps = ", ".join(f"{percentage} %" for percentage in scenario.percentages)
    verify(
        "sweep-completed",
        "a workload ran to its end with each percentage, one after the other",
        scenario.swept,
        steps,
    )
    verify(
        "sweep-released",
        "their claims hold nothing any more",
        lambda: scenario.unallocated(*map(step, scenario.percentages)),
        "pending",
        "sweep-completed",
    )
    verify(
        "share-running",
        f"{len(scenario.pods)} pods with one claim of {scenario.share} % run",
        lambda: scenario.running(*scenario.pods),
        "Running",
    )
    verify(
        "share-allocated",
        "the claim has the GPU that it names, for all of them",
        lambda: f"{scenario.allocated(SHARE)} for {scenario.reserved(SHARE, scenario.pods)}",
        f"{scenario.uuid} for {', '.join(scenario.pods)}",
        "share-running",
    )


MEASURED = {
    "sweep-measured": "every step of the sweep measured, as a client of MPS on that GPU",
    "sm-counts": "each percentage gives the SMs that it should",
    "rate-per-sm": "one SM does as much at every percentage, at the same clock",
    "share-measured": "the clients measured, each with the SMs of its percentage",
    "share-overlaps": "they worked side by side",
    "share-fair": "none of them gets more than the others",
    "share-steady": "what each gets does not vary",
    "start-latency": "pods ran soon after they had a node, without a repeated preparation",
}


def verify_sweep(scenario: Percentages, verify: Verify) -> None:
    verify(
        "sweep-measured",
        MEASURED["sweep-measured"],
        scenario.measured,
        f"{len(scenario.percentages)} results",
        "sweep-completed",
    )
    verify(
        "sm-counts",
        MEASURED["sm-counts"],
        scenario.counted,
        scenario.wanted_text(),
        "sweep-measured",
    )
    verify(
        "rate-per-sm",
        MEASURED["rate-per-sm"],
        scenario.even,
        f"within {MOST_UNEVEN:.0%}",
        "sweep-measured",
    )


def verify_share(scenario: Percentages, verify: Verify) -> None:
    verify(
        "share-measured",
        MEASURED["share-measured"],
        scenario.shared,
        f"{len(scenario.pods)} clients with the SMs of {scenario.share} %",
        "share-allocated",
        "sweep-measured",
    )
    verify(
        "share-overlaps",
        MEASURED["share-overlaps"],
        scenario.overlapped,
        f"at least {LEAST_IN_COMMON:.0%} of the time",
        "share-measured",
    )
    verify(
        "share-fair",
        MEASURED["share-fair"],
        scenario.fair,
        f"Jain's index at least {LEAST_JAIN}",
        "share-measured",
    )
    verify(
        "share-steady",
        MEASURED["share-steady"],
        scenario.steady,
        f"coefficient of variation at most {MOST_CV:.0%}",
        "share-measured",
    )
    verify(
        "start-latency",
        MEASURED["start-latency"],
        scenario.started_in_time,
        f"at most {pod_start.MPS_SECONDS:.0f} s, no prepare retry",
        "sweep-measured",
        failure="warning",
        remedy="a first pod after a pause may be slower; look at the events of the pods",
    )


def step(percentage: int) -> str:
    """The name of its claim and its Job."""
    return f"percentage-{percentage}"


class Percentages(PodScenario):
    """sweep: percentage → what its program printed; sharing: pod → what it printed; started: how
    soon they all ran."""

    def __init__(self, kube: Kube, parameters: Mapping[str, Any]) -> None:
        super().__init__(kube, parameters["namespace"], parameters["uuid"])
        self.percentages: list[int] = parameters["percentages"]
        self.share: int = parameters["sharePercentage"]
        self.pods: list[str] = parameters["pods"]
        self.sweep: dict[int, Told] = {}
        self.job_pods: dict[int, str] = {}
        self.sharing: dict[str, Told] = {}
        self.started: dict[str, Any] = {}

    # --- the sweep --------------------------------------------------------------------------------

    def swept(self) -> str:
        """That every Job completed, and none began before the one before it had."""
        ended: datetime | None = None
        for percentage in self.percentages:
            name = step(percentage)
            jobs = self.kube.wait(
                self.kube.batch.list_namespaced_job,
                lambda found: any(condition(job, "Complete") for job in found),
                SECONDS,
                what=f"Job {self.namespace}/{name}",
                namespace=self.namespace,
                field_selector=f"metadata.name={name}",
            )
            if not jobs or not condition(jobs[0], "Complete"):
                raise CheckFailed(f"Job {name} " + ("did not complete" if jobs else "is not there"))
            if ended is not None and jobs[0].status.start_time < ended:
                raise CheckFailed(f"Job {name} began before the one before it had ended")
            ended = jobs[0].status.completion_time
            self.job_pods[percentage] = self.pod_of(name)
        return ", ".join(f"{percentage} %" for percentage in self.percentages)

    def pod_of(self, job: str) -> str:
        listed = self.kube.get(
            self.kube.core.list_namespaced_pod,
            namespace=self.namespace,
            label_selector=f"{JOB_NAME}={job}",
        ).items
        if len(listed) != 1 or listed[0].status.phase != "Succeeded":
            found = ", ".join(describe(pod) for pod in listed) or "none"
            raise CheckFailed(f"pods of Job {job}: {found}")
        return str(listed[0].metadata.name)

    def measured(self) -> str:
        told = {percentage: self.said(pod) for percentage, pod in self.job_pods.items()}
        named = {f"{percentage} %": found for percentage, found in told.items()}
        clients.without_error(named)
        clients.same_gpu(named, self.uuid)
        clients.are_clients(named)
        self.sweep = told
        return f"{len(told)} results"

    def all_sms(self) -> int:
        """Of the whole GPU: what 100 % showed; settings.py has it in every sweep."""
        return int(self.sweep[100]["device"]["sm_count"])

    def wanted(self, percentage: int) -> tuple[int, int]:
        gpu = self.sweep[100]["device"]["name"]
        return expected_sms(gpu, percentage, self.all_sms())

    def wanted_text(self) -> str:
        if not self.sweep:
            return "what MPS gives for each percentage"
        return ", ".join(f"{each} %: {numbers(self.wanted(each))}" for each in self.percentages)

    def counted(self) -> str:
        texts, wrong = [], False
        for percentage, told in self.sweep.items():
            found = told["device"]["sm_count"]
            least, most = self.wanted(percentage)
            wrong = wrong or not least <= found <= most
            texts.append(f"{percentage} %: {found}")
        text = ", ".join(texts)
        if wrong:
            raise CheckFailed(text)
        return text + self.remarkable()

    def remarkable(self) -> str:
        """A percentage that buys more than its share, in words."""
        least = min(self.sweep)
        found = self.sweep[least]["device"]["sm_count"]
        share = found / self.all_sms()
        if share <= least / 100:
            return ""
        return f"; {least} % buys {found} SMs of {self.all_sms()}, which is {share:.1%}"

    def even(self) -> str:
        rates = {each: clients.per_sm_and_clock(told) for each, told in self.sweep.items()}
        spread = (max(rates.values()) - min(rates.values())) / max(rates.values())
        fractions = [told["measures"]["fma"]["fraction_of_peak"] for told in self.sweep.values()]
        text = f"within {spread:.2%}"
        if all(fractions):
            text += f", {min(fractions):.1%} to {max(fractions):.1%} of the peak of these SMs"
        if spread > MOST_UNEVEN:
            raise CheckFailed(text)
        return text

    # --- several at a time ------------------------------------------------------------------------

    def shared(self) -> str:
        self.start_together(LEAD_SECONDS, self.pods)
        told = {name: self.said(name) for name in self.pods}
        clients.without_error(told)
        clients.same_gpu(told, self.uuid)
        clients.are_clients(told)
        self.sharing = told
        least, most = self.wanted(self.share)
        counts = {name: found["device"]["sm_count"] for name, found in told.items()}
        text = ", ".join(f"{name}: {count} SMs" for name, count in counts.items())
        if not all(least <= count <= most for count in counts.values()):
            raise CheckFailed(f"{text}; expected {numbers((least, most))} each")
        return text

    def overlapped(self) -> str:
        common = clients.in_common(self.sharing)
        late = max(told["start"]["late_seconds"] for told in self.sharing.values())
        text = f"{common:.1%} of the time; the latest began {late:.3f} s after the moment"
        if common < LEAST_IN_COMMON:
            raise CheckFailed(text)
        return text

    def rates(self) -> list[float]:
        return [told["measures"]["fma"]["median"] for told in self.sharing.values()]

    def fair(self) -> str:
        index = clients.jain(self.rates())
        text = f"{index:.6f}: " + ", ".join(f"{rate:.2f}" for rate in self.rates()) + " TFLOPS"
        if index < LEAST_JAIN:
            raise CheckFailed(text)
        return text

    def steady(self) -> str:
        variations = {name: told["measures"]["fma"]["cv"] for name, told in self.sharing.items()}
        text = ", ".join(f"{name}: {cv:.2%}" for name, cv in variations.items())
        if max(variations.values()) > MOST_CV:
            raise CheckFailed(text)
        return text

    def started_in_time(self) -> str:
        steps = {self.job_pods[each]: told for each, told in self.sweep.items()}
        self.started = pod_start.table(self, steps | self.sharing)
        return pod_start.in_time(self.started)

    def freed(self) -> str:
        self.end(*self.pods)
        return self.unallocated(SHARE)


def numbers(bounds: tuple[int, int]) -> str:
    least, most = bounds
    return str(least) if least == most else f"{least} to {most}"


def tables(scenario: Percentages, versions: Mapping[str, str]) -> dict[str, Any]:
    """What was measured, as far as it went; nothing where nothing was."""
    if not scenario.sweep:
        return {}
    solo = scenario.sweep.get(scenario.share)
    rows = [
        clients.row(step(each), told, percentage=each, clients=1)
        for each, told in scenario.sweep.items()
    ]
    rows += [
        clients.row(name, told, percentage=scenario.share, clients=len(scenario.pods))
        | {"slowdown": slowdown(solo, told)}
        for name, told in scenario.sharing.items()
    ]
    table: dict[str, Any] = {
        "module": "5",
        "name": TABLE,
        "unit": "TFLOPS",
        "rows": rows,
        "environment": clients.environment(scenario.sweep[100], versions),
    }
    if scenario.sharing:
        table["aggregate"] = sum(scenario.rates())
        table["jain"] = clients.jain(scenario.rates())
        table["in_common"] = clients.in_common(scenario.sharing)
    return {TABLE: table} | ({"pod-start": scenario.started} if scenario.started else {})


def slowdown(solo: Told | None, told: Told) -> float | None:
    """How much less than alone at the same percentage; 1 is no less. None if that was not run."""
    if solo is None:
        return None
    return float(solo["measures"]["fma"]["median"] / told["measures"]["fma"]["median"])
