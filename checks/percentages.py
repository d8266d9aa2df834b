"""What the clients of module 5 measured under thread percentages, and what it has to be."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from checks import clients, pod_start
from checks.clients import Told
from checks.modules.mps_sharing import LEAD_SECONDS, LEAST_IN_COMMON
from checks.pod_scenario import SECONDS, PodScenario
from checks.result import CheckFailed
from kube.client import Kube
from kube.conditions import condition
from kube.pods import describe

MEASURED_SMS: dict[str, dict[int, int]] = {
    "NVIDIA H200": {100: 132, 50: 66, 20: 26, 10: 12, 1: 8},
}
"""GPU → percentage → SMs, where it was measured: docs/results/gpu-benchmark-2026-11-21.md."""


def step(percentage: int) -> str:
    """The name of its claim and its Job."""
    return f"percentage-{percentage}"


SHARE = "share"


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
