"""Where the seconds of an update go, from the events of Pulumi's engine.

All seconds count from the start of the process to when an event came: the events' own timestamps
are whole seconds.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

from machine.errors import LabError
from tests.checkout import Checkout

Event = dict[str, Any]
COMMAND = "command:local:Command"
GATE = "devices-published"
"""The Command that waits for what the objects need, so it is one of them."""
PARTS = ("objects", "cluster", "checks")
"""What an update can be at, the most telling first."""
ENGINE = "engine"


@dataclass(frozen=True)
class Span:
    """A resource that was made, changed or left alone, from its first second to its last."""

    urn: str
    start: float
    end: float

    @property
    def name(self) -> str:
        return self.urn.rpartition("::")[2]

    @property
    def type(self) -> str:
        return self.urn.split("::")[2].rpartition("$")[2]

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def part(self) -> str:
        kubernetes = self.type.startswith(("kubernetes:", "pulumi:providers:kubernetes"))
        if kubernetes or self.name == GATE:
            return "objects"
        if self.type == COMMAND:
            return "cluster" if self.name in ("cluster", "cluster-running") else "checks"
        return ENGINE


class Link(NamedTuple):
    """One resource of the critical path, and the seconds for which nothing it needs was at work."""

    span: Span
    waited: float


def run_pulumi(
    checkout: Checkout, action: str, stack: str, watch: Callable[[Event], None] = lambda _: None
) -> list[Span]:
    """Run `pulumi up` or `pulumi destroy`; `watch` is handed every event, and must be quick.

    Raises LabError with Pulumi's own diagnostics.
    """
    options = ["--yes", "--skip-preview", "--json", "--non-interactive", "--stack", stack]
    events: list[tuple[float, Event]] = []
    other = []
    started = time.monotonic()
    with subprocess.Popen(
        ["pulumi", action, *options], cwd=checkout.folder, text=True, errors="replace",
        env=checkout.environment(), start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as engine:  # fmt: skip
        assert engine.stdout is not None  # noqa: S101
        try:
            while line := engine.stdout.readline():
                if not line.startswith("{"):
                    other.append(line)
                    continue
                event = json.loads(line)
                events.append((time.monotonic() - started, event))
                watch(event)
            code = engine.wait()
        except BaseException:
            engine.kill()  # waiting for it would hide the interruption; its children end with
            raise  # the workplace
    if code:
        found = [event["diagnosticEvent"] for _, event in events if "diagnosticEvent" in event]
        errors = [one["message"] for one in found if one["severity"] == "error"]
        raise LabError(f"pulumi {action} ended with {code}:\n{''.join([*errors, *other])}")
    return read_spans(events)


def read_spans(events: Iterable[tuple[float, Event]]) -> list[Span]:
    """The resources in (seconds, event); components, which only group, are left out."""
    begun: dict[str, float] = {}
    done: dict[str, Span] = {}
    for second, event in events:
        if "resourcePreEvent" in event:
            metadata = event["resourcePreEvent"]["metadata"]
            begun.setdefault(metadata["urn"], second)
        elif "resOutputsEvent" in event:
            metadata = event["resOutputsEvent"]["metadata"]
            urn = metadata["urn"]
            if (metadata.get("new") or metadata.get("old") or {}).get("custom") and urn in begun:
                done[urn] = Span(urn, begun[urn], second)
    return list(done.values())


def split_seconds(found: Sequence[Span], total: float) -> dict[str, float]:
    """Seconds that the update was at objects, the cluster and checks, and the engine's own.

    Every moment belongs to one of them, so they add up to the total.
    """
    seconds = dict.fromkeys((*PARTS, ENGINE), 0.0)
    moments = sorted({0.0, total, *(m for span in found for m in (span.start, span.end))})
    for begin, end in pairwise(moments):
        at_work = {span.part for span in found if span.start <= begin and end <= span.end}
        seconds[next((part for part in PARTS if part in at_work), ENGINE)] += end - begin
    return seconds


def read_needs(state: Mapping[str, Any]) -> dict[str, set[str]]:
    """URN → URNs of what must be done before it, from an exported stack."""
    found = {}
    for resource in state["deployment"]["resources"]:
        by_property = resource.get("propertyDependencies", {}).values()
        named = {*resource.get("dependencies", ()), *(urn for urns in by_property for urn in urns)}
        if provider := resource.get("provider"):
            named.add(provider.rpartition("::")[0])
        found[resource["urn"]] = named
    return found


def typical_spans(runs: Sequence[Sequence[Span]]) -> list[Span]:
    """Each resource with the median of its starts and of its ends over several updates."""
    by_urn: dict[str, list[Span]] = {}
    for run in runs:
        for span in run:
            by_urn.setdefault(span.urn, []).append(span)
    return [
        Span(urn, median(span.start for span in seen), median(span.end for span in seen))
        for urn, seen in by_urn.items()
    ]


def critical_path(found: Sequence[Span], needs: Mapping[str, set[str]]) -> list[Link]:
    """From the resource that ended last back to the first, each time to what ended last of what
    it needs. In the order of time."""
    path: list[Link] = []
    before = found
    while before:
        span = max(before, key=lambda one: one.end)
        before = [one for one in found if one.urn in needs.get(span.urn, ())]
        path.append(Link(span, span.start - max((one.end for one in before), default=0.0)))
    return path[::-1]
