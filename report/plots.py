"""Results as plots, drawn from their saved JSON alone: `python -m report.plots FILE`.

A table that can be drawn has a way, a number of clients, a rate and a variation in its rows. Each
becomes an SVG beside the file.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

NEEDED = ("way", "clients", "gain", "cv", "p99_us")
SIZE = 9.0, 4.0
"""Inches."""
MARKERS = "os^vD"
"""Open ones: ways that do the same lie upon each other."""
Row = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m report.plots", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("results", type=Path, help="results.json of an update")
    options = parser.parse_args(arguments)
    try:
        kept = json.loads(options.results.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        parser.error(f"{options.results}: {error}")
    drawn = draw_all(kept.get("benchmarks", {}), options.results.resolve().parent)
    if not drawn:
        sys.stderr.write(f"{options.results} has no table that can be drawn\n")
        return 1
    for path in drawn:
        sys.stdout.write(f"{path}\n")
    return 0


def draw_all(benchmarks: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Path]:
    """The files, one for each table that can be drawn."""
    found = []
    for tables in benchmarks.values():
        for name, table in sorted(tables.items()):
            if lines := lines_of(table):
                path = folder / f"{name}.svg"
                save(comparison(name, table, lines), path)
                found.append(path)
    return found


def lines_of(table: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Way → its rows by their number of clients, of those that were measured."""
    found: dict[str, list[Row]] = {}
    for row in table.get("rows", []):
        if all(row.get(key) is not None for key in NEEDED):
            found.setdefault(row["way"], []).append(row)
    return {way: sorted(rows, key=lambda row: int(row["clients"])) for way, rows in found.items()}


def comparison(name: str, table: Mapping[str, Any], lines: Mapping[str, list[Row]]) -> Figure:
    """What all clients do together, and how long one launch takes, by the number of clients."""
    figure = Figure(figsize=SIZE, layout="constrained")
    together, launches = figure.subplots(1, 2)
    for (way, rows), marker in zip(lines.items(), cycle(MARKERS)):
        clients = [row["clients"] for row in rows]
        gains = [row["gain"] for row in rows]
        noise = [row["gain"] * row["cv"] for row in rows]
        how: dict[str, Any] = {"marker": marker, "fillstyle": "none", "label": way}
        together.errorbar(clients, gains, noise, capsize=3, **how)
        launches.plot(clients, [row["p99_us"] for row in rows], **how)
    together.axhline(1, color="grey", linewidth=0.8, linestyle=":")
    together.set_title("rate of all clients, by that of one alone")
    launches.set_title("99th percentile of a launch, µs")
    launches.set_yscale("log")
    numbers = sorted({row["clients"] for rows in lines.values() for row in rows})
    for axes in (together, launches):
        label(axes, numbers)
    together.set_ylim(bottom=0)
    figure.legend(*together.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    facts = table.get("environment", {})
    figure.suptitle(f"{name}: {facts.get('gpu', '')}, driver {facts.get('driver', '')}")
    return figure


def label(axes: Axes, numbers: Sequence[int]) -> None:
    axes.set_xlabel("clients")
    axes.set_xticks(list(numbers))
    axes.grid(visible=True, alpha=0.3)


def save(figure: Figure, path: Path) -> None:
    """The same figures make the same file."""
    with mpl.rc_context({"svg.hashsalt": path.name, "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
