"""Module 5: a thread percentage buys so many SMs and no more, alone and beside others.

Parameters: kubeconfig, namespace, uuid, percentages (of the sweep, each with a claim and a Job
percentage-N), sharePercentage and pods (clients of the claim `share`), versions, simulated.
"""

from __future__ import annotations

from typing import Any

from checks import pod_start
from checks.modules.mps_sharing import LEAST_IN_COMMON
from checks.percentages import (
    LEAST_JAIN,
    MOST_CV,
    MOST_UNEVEN,
    SHARE,
    TABLE,
    Percentages,
    step,
    tables,
)
from checks.pod_scenario import Verify
from checks.result import Checklist
from kube.client import Kube
from kube.devices import NO_GPU, SIMULATED
from kube.permissions import on

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

PERMISSIONS = (*on("jobs", "list", "watch", group="batch"), *pod_start.PERMISSIONS)
"""In the namespace, beside the scene's."""


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
