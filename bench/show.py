"""The benchmark's tables."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from rich.console import Console

from bench import profile, summary
from bench.repeat import Repeat
from bench.summary import Row
from report.tables import make_table

WIDTH = 116
LEFT = ("", "resource", "part", "program", "package")
"""Columns of words; all others are of figures."""
Lines = list[list[str]]
"""A table, its header first."""


def console() -> Console:
    return Console(width=WIDTH, highlight=False)


def report(
    repeats: Sequence[Repeat], machine: Mapping[str, Any], starts: Mapping[str, float],
    imports: Mapping[str, float],
) -> None:  # fmt: skip
    """Every table, and the closing line."""
    out = console()
    rows = summary.compare(repeats)
    load = ", ".join(f"{repeat.load:.1f}" for repeat in repeats)
    out.print(
        f"{len(repeats)} repeats on {machine['processors']} processors "
        f"({machine['processor']}), {machine['memory']} GB, "
        f"load before each: {load}"
    )
    tables = {
        "side by side: median (least–most)": side_by_side(rows),
        "what up was at, seconds": at_work(repeats),
        "critical path of up, seconds": critical(repeats),
        "own calls by kind": own_calls(repeats),
        "start of a program, seconds": seconds_of("program", starts),
        "imports of the Pulumi program, seconds": seconds_of("package", imports),
    }
    for title, (header, *lines) in tables.items():
        out.print()
        out.print(title, style="bold")
        out.print(make_table(header, lines, right=set(header).difference(LEFT)))
    out.print()
    idle = median(repeat.idle for repeat in repeats)
    out.print(
        "own calls: of the provider and of kubectl, by the API server's audit log. all calls: "
        f"apiserver_request_total without watches and probes, less the checks' and {idle:.1f} a "
        "second of the idle cluster."
    )
    for line in summary.closing_lines(rows):
        out.print(line, style="bold")


def side_by_side(rows: Iterable[Row]) -> Lines:
    found = [
        ["", "pulumi s", "kubectl s", "×", "own calls", "kubectl", "×", "all calls", "kubectl", "×"]
    ]
    for row in rows:
        line = [row.title]
        for of in summary.COMPARED:
            value = summary.ratio(row, of)
            line += [_middle(getattr(cost, of), of) for cost in (row.pulumi, row.kubectl)]
            line.append(f"{value:.1f}" if value else "")
        found.append(line)
    return found


def _middle(values: Sequence[float], of: str) -> str:
    if of == "seconds":
        return f"{median(values):.1f} ({min(values):.1f}–{max(values):.1f})"
    return f"{median(values):.0f}" if values else ""


def at_work(repeats: Sequence[Repeat]) -> Lines:
    splits = [summary.split_up(repeat) for repeat in repeats]
    found = [["", "median", *map(str, range(1, len(repeats) + 1))]]
    for part in (*profile.PARTS, profile.ENGINE):
        values = [split[part] for split in splits]
        found.append([part, *(f"{value:.2f}" for value in (median(values), *values))])
    return found


def critical(repeats: Sequence[Repeat]) -> Lines:
    """In the order of time; `waited` is the engine, the program and the SDK between two."""
    found = [["resource", "part", "waited", "took", "ended"]]
    path = summary.critical_path(repeats)
    for span, waited in path:
        name = f"{span.name} ({span.type.rpartition(':')[2]})"
        figures = (waited, span.seconds, span.end)
        found.append([name, span.part, *(f"{value:.2f}" for value in figures)])
    whole = median(repeat.parts["up"].seconds for repeat in repeats)
    rest = whole - path[-1].span.end
    return [*found, ["end of pulumi", profile.ENGINE, f"{rest:.2f}", "", f"{whole:.2f}"]]


def own_calls(repeats: Sequence[Repeat]) -> Lines:
    found = [["", "provider, up", "kubectl, apply"]]
    for kind, ours, theirs in summary.breakdown(repeats):
        found.append([kind, f"{ours:.0f}", f"{theirs:.0f}"])
    return found


def seconds_of(what: str, values: Mapping[str, float]) -> Lines:
    return [[what, "seconds"], *([name, f"{value:.2f}"] for name, value in values.items())]
