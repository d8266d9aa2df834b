"""What the repeats say together: medians, ratios and the line that judges the goal."""

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
CLIENTS = ("provider", "kubectl")
DISCOVERY = ("api", "apis", "openapi", "version")
VERBS = {"GET": "reads", "LIST": "reads", "WATCH": "watches"}
KINDS = ("writes", "reads", "watches", "discovery and OpenAPI")
COMPARED = ("seconds", "own", "calls")
"""Fields of Cost."""


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


def compare(repeats: Sequence[Repeat]) -> list[Row]:
    """In the order of the method."""

    def cost(*names: str) -> Cost:
        return add_costs(repeats, names)

    up, new = cost("up"), cost("apply on a new cluster")
    # Without making the cluster and without the checks, as kubectl does neither.
    on_cluster = [split["objects"] + split[profile.ENGINE] for split in map(split_up, repeats)]
    part = Cost(on_cluster, up.own, up.calls)
    by_hand = cost("cluster", "apply on a new cluster").seconds
    return [
        Row("up from nothing", Cost(up.seconds), Cost(by_hand)),
        Row("  its part on the cluster", part, cost("apply"), judged=True),
        Row("  kubectl's new as well", part, new, judged=True),
        Row("up, no change", cost("up again"), cost("apply again")),
        Row("modules 2, 3 removed", cost("remove"), cost("delete modules")),
        Row("destroy", cost("destroy"), cost("delete modules", "delete the rest")),
    ]


def add_costs(repeats: Sequence[Repeat], names: Sequence[str]) -> Cost:
    """Of these parts together, for each repeat."""
    seconds, own, calls = [], [], []
    for repeat in repeats:
        parts = [repeat.parts[name] for name in names]
        clients = [part.clients.get(who, Calls()) for part in parts for who in CLIENTS]
        seconds.append(sum(part.seconds for part in parts))
        own.append(float(sum(asked.total() for asked in clients)))
        if all(part.counted_seconds for part in parts):
            calls.append(sum(beyond_idle(part, repeat.idle) for part in parts))
    return Cost(seconds, own, calls if len(calls) == len(repeats) else [])


def split_up(repeat: Repeat) -> dict[str, float]:
    """Seconds of `up` by what it was at."""
    return profile.split_seconds(repeat.parts["up"].spans, repeat.parts["up"].seconds)


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


def closing_lines(rows: Sequence[Row]) -> list[str]:
    """The goal's figures in a line: on the same cluster, and with kubectl's as new as Pulumi's."""
    same, new = (row for row in rows if row.judged)
    return [
        f"up / kubectl apply, on the same cluster: {_figures(same)}",
        f"up / kubectl apply, each on a new one:   {_figures(new)}",
    ]


def _figures(row: Row) -> str:
    pairs = zip(row.pulumi.seconds, row.kubectl.seconds, strict=True)
    over = median(ours - TIMES * theirs - FIXED_SECONDS for ours, theirs in pairs)
    ratios = [ratio(row, of) for of in COMPARED]
    seconds, own, calls = (f"{value:.1f}×" if value else "–" for value in ratios)
    return (
        f"{seconds} time ({abs(over):.1f} s {'over' if over > 0 else 'under'} "
        f"{TIMES:.0f}× + {FIXED_SECONDS:.0f} s), {own} own calls, {calls} all calls"
    )


def breakdown(repeats: Sequence[Repeat]) -> list[tuple[str, float, float]]:
    """(kind of call, median number by Pulumi's provider in `up`, by kubectl in `apply`)."""
    ours, theirs = (
        [by_kind(repeat.parts[part].clients.get(who, Calls())) for repeat in repeats]
        for part, who in zip(("up", "apply"), CLIENTS, strict=True)
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


def critical_path(repeats: Sequence[Repeat]) -> list[profile.Link]:
    """That of the typical `up`."""
    typical = profile.typical_spans([repeat.parts["up"].spans for repeat in repeats])
    return profile.critical_path(typical, repeats[-1].needs)


def to_json(repeats: Sequence[Repeat]) -> dict[str, Any]:
    """Everything that was measured, seconds and numbers of calls."""
    return {
        "repeats": [
            {
                "load": one.load,
                "idle_calls_per_second": one.idle,
                "up_seconds": split_up(one),
                "parts": {
                    name: vars(part) | {"spans": [vars(span) for span in part.spans]}
                    for name, part in one.parts.items()
                },
                "outputs": dict(one.outputs),
            }
            for one in repeats
        ],
        "rows": [
            {
                "title": row.title.strip(),
                "pulumi": vars(row.pulumi),
                "kubectl": vars(row.kubectl),
                "ratios": {of: ratio(row, of) for of in COMPARED},
            }
            for row in compare(repeats)
        ],
        "critical_path": [
            {"urn": link.span.urn, "seconds": link.span.seconds, "waited": link.waited}
            for link in critical_path(repeats)
        ],
    }
