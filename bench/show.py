"""The benchmark's tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import profile, summary
from bench.repeat import Repeat
from bench.summary import Row

WIDTH = 116


def console() -> Console:
    return Console(width=WIDTH, highlight=False)


def report(
    repeats: Sequence[Repeat], machine: Mapping[str, Any], starts: Mapping[str, float],
    imports: Mapping[str, float],
) -> None:  # fmt: skip
    """Every table, and the closing line."""
    out = console()
    rows = summary.rows(repeats)
    load = ", ".join(f"{repeat.load:.1f}" for repeat in repeats)
    out.print(
        f"{len(repeats)} repeats on {machine['processors']} processors "
        f"({machine['processor']}), {machine['memory']} GB, "
        f"load before each: {load}"
    )
    for title, table in (
        ("side by side: median (least–most)", side_by_side(rows)),
        ("what up was at, seconds", at_work(repeats)),
        ("critical path of up, seconds", critical(repeats)),
        ("own calls by kind", calls(repeats)),
        ("start of a program, seconds", plain(("program", "seconds"), starts)),
        ("imports of the Pulumi program, seconds", plain(("package", "seconds"), imports)),
    ):
        out.print()
        out.print(title, style="bold")
        out.print(table)
    out.print()
    idle = median(repeat.idle for repeat in repeats)
    out.print(
        "own calls: of the provider and of kubectl, by the API server's audit log. all calls: "
        f"apiserver_request_total without watches and probes, less the checks' and {idle:.1f} a "
        "second of the idle cluster."
    )
    for line in summary.closing(rows):
        out.print(line, style="bold")


def side_by_side(rows: Iterable[Row]) -> Table:
    table = _table("", "pulumi s", "kubectl s", "×", "own calls", "kubectl", "×",
                   "all calls", "kubectl", "×")  # fmt: skip
    for row in rows:
        cells = []
        for of, show in (("seconds", _spread), ("own", _middle), ("calls", _middle)):
            value = summary.ratio(row, of)
            cells += [show(getattr(row.pulumi, of)), show(getattr(row.kubectl, of))]
            cells.append(f"{value:.1f}" if value else "")
        table.add_row(row.title, *cells)
    return table


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.1f} ({min(values):.1f}–{max(values):.1f})"


def _middle(values: Sequence[float]) -> str:
    return f"{median(values):.0f}" if values else ""


def at_work(repeats: Sequence[Repeat]) -> Table:
    table = _table("", "median", *(f"{n}" for n in range(1, len(repeats) + 1)))
    split = [summary.split(repeat) for repeat in repeats]
    for part in (*profile.PARTS, profile.ENGINE):
        values = [one[part] for one in split]
        table.add_row(part, *(f"{value:.2f}" for value in (median(values), *values)))
    return table


def critical(repeats: Sequence[Repeat]) -> Table:
    """In the order of time; `waited` is the engine, the program and the SDK between two."""
    table = _table("resource", "part", "waited", "took", "ended", left=2)
    for link in summary.path(repeats):
        span = link.span
        figures = (link.waited, span.seconds, span.end)
        name = f"{span.name} ({span.type.rpartition(':')[2]})"
        table.add_row(name, span.part, *(f"{value:.2f}" for value in figures))
    whole = median(repeat.parts["up"].seconds for repeat in repeats)
    last = summary.path(repeats)[-1].span.end
    table.add_row("end of pulumi", profile.ENGINE, f"{whole - last:.2f}", "", f"{whole:.2f}")
    return table


def calls(repeats: Sequence[Repeat]) -> Table:
    table = _table("", "provider, up", "kubectl, apply")
    for kind, ours, theirs in summary.breakdown(repeats):
        table.add_row(kind, f"{ours:.0f}", f"{theirs:.0f}")
    return table


def plain(columns: tuple[str, str], values: Mapping[str, float]) -> Table:
    table = _table(*columns)
    for name, value in values.items():
        table.add_row(name, f"{value:.2f}")
    return table


def _table(*columns: str, left: int = 1) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right")
    return table
