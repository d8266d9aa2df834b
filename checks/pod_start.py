"""How long pods took from being scheduled to running their program, and what had to be repeated.

The scheduler's event has microseconds, the program says when it began; the API's own times are
whole seconds. Both clocks must agree, as they do where scheduler and node are one machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checks.clients import Told
from checks.pod_scenario import PodScenario
from checks.result import CheckFailed
from kube.permissions import on

MPS_SECONDS = 5.0
"""An MPS pod on a warm node, its daemon's start included. On an H200 14 pods took 2.4 to 5.9 s: the
driver looks whether the daemon is ready after 1 to 2 s, and then after 2 to 4 s more."""
RETRIED = "FailedPrepareDynamicResources"
"""The kubelet's event for a claim whose preparation failed and is tried again."""
PERMISSIONS = on("events", "list", real=True)
"""In the namespace, beside the scene's."""


def table(scenario: PodScenario, told: Mapping[str, Told]) -> dict[str, Any]:
    """rows: pod, seconds, prepare_retries. `told`: pod → what its program printed."""
    scheduled = moments(scenario)
    retries = retried(scenario)
    rows = [
        {
            "pod": name,
            "seconds": round(found["began"] - scheduled[name], 3) if name in scheduled else None,
            "prepare_retries": retries.get(name, 0),
        }
        for name, found in told.items()
    ]
    return {"unit": "s", "measured": "from scheduled to the program's first line", "rows": rows}


def moments(scenario: PodScenario) -> dict[str, float]:
    """Pod → when it was scheduled last, seconds since 1970."""
    found: dict[str, float] = {}
    for event in events(scenario, "Scheduled"):
        moment = event.event_time or event.last_timestamp
        if moment is not None:
            name = event.involved_object.name
            found[name] = max(moment.timestamp(), found.get(name, 0.0))
    return found


def retried(scenario: PodScenario) -> dict[str, int]:
    counts: dict[str, int] = {}
    for event in events(scenario, RETRIED):
        times = event.series.count if event.series else event.count or 1
        counts[event.involved_object.name] = counts.get(event.involved_object.name, 0) + times
    return counts


def events(scenario: PodScenario, reason: str) -> list[Any]:
    """Of pods that are there now: a run before this one had pods of the same names."""
    listed = scenario.kube.get(
        scenario.kube.core.list_namespaced_pod, namespace=scenario.namespace
    ).items
    present = {pod.metadata.uid for pod in listed}
    found = scenario.kube.get(
        scenario.kube.core.list_namespaced_event,
        namespace=scenario.namespace,
        field_selector=f"reason={reason}",
    ).items
    return [event for event in found if event.involved_object.uid in present]


def in_time(started: dict[str, Any]) -> str:
    """CheckFailed where a pod took too long, or its claim had to be prepared again."""
    rows = started["rows"]
    unknown = [row["pod"] for row in rows if row["seconds"] is None]
    if unknown:
        raise CheckFailed(f"no event says when {', '.join(unknown)} was scheduled")
    slowest = max(row["seconds"] for row in rows)
    retries = sum(row["prepare_retries"] for row in rows)
    text = f"all {len(rows)} ran after {slowest:.1f} s, {retries} prepare retries"
    if slowest > MPS_SECONDS or retries:
        raise CheckFailed(text)
    return text
