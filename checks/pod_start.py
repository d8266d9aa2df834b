"""How long pods took from being scheduled to running their program, and what had to be repeated.

The scheduler's event has microseconds, the program says when it began; the API's own times are
whole seconds. Both clocks must agree, as they do where scheduler and node are one machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from checks.pod_scenario import Output, PodScenario
from checks.result import CheckFailed, ensure
from kube.permissions import on

MPS_SECONDS = 5.0
"""An MPS pod on a warm node, its daemon's start included. On an H200 14 pods took 2.4 to 5.9 s: the
driver looks whether the daemon is ready after 1 to 2 s, and then after 2 to 4 s more."""
RETRIED = "FailedPrepareDynamicResources"
"""The kubelet's event for a claim whose preparation failed and is tried again."""
PERMISSIONS = on("events", "list", real=True)
"""In the namespace, beside the scenario's."""


def table(scenario: PodScenario, outputs: Mapping[str, Output]) -> dict[str, Any]:
    """rows: pod, seconds, prepare_retries. outputs: pod → what its program printed."""
    scheduled: dict[str, float] = {}
    for event in _events(scenario, "Scheduled"):
        if moment := event.event_time or event.last_timestamp:
            name = event.involved_object.name
            scheduled[name] = max(moment.timestamp(), scheduled.get(name, 0.0))
    retries: Counter[str] = Counter()
    for event in _events(scenario, RETRIED):
        times = event.series.count if event.series else event.count or 1
        retries[event.involved_object.name] += times
    rows = [
        {
            "pod": name,
            "seconds": round(output["began"] - scheduled[name], 3) if name in scheduled else None,
            "prepare_retries": retries[name],
        }
        for name, output in outputs.items()
    ]
    return {"unit": "s", "measured": "from scheduled to the program's first line", "rows": rows}


def _events(scenario: PodScenario, reason: str) -> list[Any]:
    """Of pods that exist now: a run before this one had pods of the same names."""
    kube, namespace = scenario.kube, scenario.namespace
    pods = kube.get(kube.core.list_namespaced_pod, namespace=namespace).items
    present = {pod.metadata.uid for pod in pods}
    listed = kube.get(
        kube.core.list_namespaced_event, namespace=namespace, field_selector=f"reason={reason}"
    )
    return [event for event in listed.items if event.involved_object.uid in present]


def in_time(started: dict[str, Any]) -> str:
    """CheckFailed where a pod took too long, or its claim had to be prepared again."""
    rows = started["rows"]
    if unknown := [row["pod"] for row in rows if row["seconds"] is None]:
        raise CheckFailed(f"no event says when {', '.join(unknown)} was scheduled")
    slowest = max(row["seconds"] for row in rows)
    retries = sum(row["prepare_retries"] for row in rows)
    text = f"all {len(rows)} ran after {slowest:.1f} s, {retries} prepare retries"
    return ensure(text, slowest <= MPS_SECONDS and not retries)
