"""What the repeats say together: medians, ratios and the line that judges the goal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench import profile
from bench.calls import Calls
from bench.repeat import Part, Repeat

TIMES = 2.0
FIXED_SECONDS = 3.0
"""The goal: at most twice kubectl's time and this many seconds, and at most twice its calls."""
OWN = {"pulumi": "provider", "kubectl": "kubectl"}
DISCOVERY = ("api", "apis", "openapi", "version")
VERBS = {"GET": "reads", "LIST": "reads", "WATCH": "watches"}
KINDS = ("writes", "reads", "watches", "discovery and OpenAPI")
COMPARED = ("objects", profile.ENGINE)
"""Parts of an update that have a counterpart on kubectl's side."""


@dataclass(frozen=True)
class Cost:
    """Each a value a repeat, or nothing where it was not measured. seconds; own: the client's
    calls; calls: all that the API server counted beyond an idle cluster's."""

    seconds: list[float]
    own: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """One thing that both sides do. judged: by the goal."""

    title: str
    pulumi: Cost
    kubectl: Cost
    judged: bool = False


def rows(repeats: Sequence[Repeat]) -> list[Row]:
    """In the order of the method."""
    whole = cost(repeats, "up").seconds
    by_hand = cost(repeats, "cluster", "apply on a new cluster").seconds
    deleted = cost(repeats, "delete modules", "delete the rest")
    part = comparable(repeats)
    return [
        Row("up from nothing", Cost(whole), Cost(by_hand)),
        Row("  its part on the cluster", part, cost(repeats, "apply"), judged=True),
        Row("  kubectl's new as well", part, cost(repeats, "apply on a new cluster"), judged=True),
        Row("up, no change", cost(repeats, "up again"), cost(repeats, "apply again")),
        Row("modules 2, 3 removed", cost(repeats, "remove"), cost(repeats, "delete modules")),
        Row("destroy", cost(repeats, "destroy"), deleted),
    ]


def cost(repeats: Sequence[Repeat], *names: str) -> Cost:
    """Of these parts together, for each repeat."""
    parts = [[repeat.parts[name] for name in names] for repeat in repeats]
    readable = all(part.counted_seconds for several in parts for part in several)
    calls = [
        sum(beyond_idle(part, repeat.idle) for part in several)
        for several, repeat in zip(parts, repeats, strict=True)
    ]
    return Cost(
        [sum(part.seconds for part in several) for several in parts],
        [float(sum(own(part) for part in several)) for several in parts],
        calls if readable else [],
    )


def comparable(repeats: Sequence[Repeat]) -> Cost:
    """Of `up` what kubectl does too: without making the cluster and without the checks."""
    whole = cost(repeats, "up")
    seconds = [sum(split(repeat)[name] for name in COMPARED) for repeat in repeats]
    return Cost(seconds, whole.own, whole.calls)


def split(repeat: Repeat) -> dict[str, float]:
    """Seconds of `up` by what it was at."""
    return profile.parts(repeat.parts["up"].spans, repeat.parts["up"].seconds)


def own(part: Part) -> int:
    """The calls of whichever of the two clients was at work."""
    return sum(part.clients.get(who, Calls()).total() for who in OWN.values())


def beyond_idle(part: Part, idle: float) -> float:
    """All calls of a part, less those of an idle cluster and those of checks.

    idle: calls a second. Watches of the checks are not in the counter, so not taken off.
    """
    checks = part.clients.get("checks", Calls())
    asked = sum(number for name, number in checks.items() if not name.startswith("WATCH"))
    return max(0.0, part.calls.total() - asked - idle * part.counted_seconds)


def ratio(row: Row, of: str) -> float | None:
    """Median over the repeats of Pulumi's value divided by kubectl's of the same repeat."""
    ours: list[float] = getattr(row.pulumi, of)
    theirs: list[float] = getattr(row.kubectl, of)
    if not ours or not theirs or not all(theirs):
        return None
    return median(one / other for one, other in zip(ours, theirs, strict=True))


def over_goal(row: Row) -> float:
    """Seconds by which the median repeat is over the goal; negative: under it."""
    pairs = zip(row.pulumi.seconds, row.kubectl.seconds, strict=True)
    return median(ours - TIMES * theirs - FIXED_SECONDS for ours, theirs in pairs)


def closing(rows: Sequence[Row]) -> list[str]:
    """The goal's figures in a line: on the same cluster, and with kubectl's as new as Pulumi's."""
    same, new = (row for row in rows if row.judged)
    return [
        f"up / kubectl apply, on the same cluster: {_figures(same)}",
        f"up / kubectl apply, each on a new one:   {_figures(new)}",
    ]


def _figures(row: Row) -> str:
    over = over_goal(row)
    shown = {}
    for of in ("seconds", "own", "calls"):
        value = ratio(row, of)
        shown[of] = f"{value:.1f}×" if value else "–"
    return (
        f"{shown['seconds']} time ({abs(over):.1f} s {'over' if over > 0 else 'under'} "
        f"{TIMES:.0f}× + {FIXED_SECONDS:.0f} s), {shown['own']} own calls, "
        f"{shown['calls']} all calls"
    )


def breakdown(repeats: Sequence[Repeat]) -> list[tuple[str, float, float]]:
    """(kind of call, median number by Pulumi's provider in `up`, by kubectl in `apply`)."""
    sides = (("up", OWN["pulumi"]), ("apply", OWN["kubectl"]))
    ours, theirs = (
        [by_kind(repeat.parts[part].clients.get(who, Calls())) for repeat in repeats]
        for part, who in sides
    )
    return [
        (kind, float(median(c[kind] for c in ours)), float(median(c[kind] for c in theirs)))
        for kind in KINDS
    ]


def by_kind(calls: Calls) -> Calls:
    """What a client asked for, in kinds that explain a difference."""
    found = Calls()
    for name, number in calls.items():
        verb, _, what = name.partition(" ")
        discovery = what.partition("/")[0] in DISCOVERY
        found["discovery and OpenAPI" if discovery else VERBS.get(verb, "writes")] += number
    return found


def path(repeats: Sequence[Repeat]) -> list[profile.Link]:
    """The critical path of the typical `up`."""
    typical = profile.typical([repeat.parts["up"].spans for repeat in repeats])
    return profile.critical_path(typical, repeats[-1].needs)


def to_json(repeats: Sequence[Repeat]) -> dict[str, Any]:
    """Everything that was measured, seconds and numbers of calls."""
    return {
        "repeats": [_repeat(one) for one in repeats],
        "rows": [
            {
                "title": row.title.strip(),
                "pulumi": vars(row.pulumi),
                "kubectl": vars(row.kubectl),
                "ratios": {of: ratio(row, of) for of in ("seconds", "own", "calls")},
            }
            for row in rows(repeats)
        ],
        "critical_path": [
            {"urn": link.span.urn, "seconds": link.span.seconds, "waited": link.waited}
            for link in path(repeats)
        ],
    }


def _repeat(one: Repeat) -> dict[str, Any]:
    return {
        "load": one.load,
        "idle_calls_per_second": one.idle,
        "up_seconds": split(one),
        "parts": {
            name: vars(part) | {"spans": [vars(span) for span in part.spans]}
            for name, part in one.parts.items()
        },
        "outputs": dict(one.outputs),
    }
