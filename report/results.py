"""Results as tables in the terminal."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from report.tables import console, make_table
from results.status import BASES
from results.store import RESULTS

MANY = 1000
"""From here on a number is shown without decimals."""
COLOURS = {"passed": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}


def show(verification: dict[str, Any]) -> None:
    """Print every statement of every module, and below it what failed and how to fix it."""
    rows: list[Sequence[str | Text]] = []
    fixes = []
    for module, result in sorted(verification.items()):
        if result.get("reason"):
            rows.append((module, "", status(result["status"]), "", Text(result["reason"]), ""))
        for each in result["checks"]:
            basis = each.get("basis", "")  # results of earlier versions have none
            found, seconds = Text(each["found"]), f"{each['seconds']:.1f}"
            rows.append((module, each["id"], status(each["status"]), basis, found, seconds))
            if each["status"] in ("failed", "warning"):
                expected = f"expected {each['expected']}; {each['remedy']}"
                fixes.append(f"module {module}, {each['id']}: {expected}")
    columns = ("module", "check", "status", "basis", "found", "seconds")
    out = console()
    out.print(make_table(columns, rows, right=["seconds"]))
    for line in fixes:
        out.print(line, markup=False)


def show_removal(stack: str, result: dict[str, Any]) -> None:
    """One line where nothing is left, every statement where something is."""
    counts = Counter(finding["status"] for finding in result["checks"])
    passed = result["status"] == "passed"
    if not passed:
        show({"0": result})
    skipped = [f"{f['id']} ({f['found']})" for f in result["checks"] if f["status"] == "skipped"]
    more = f"; skipped: {', '.join(skipped)}" if skipped else ""
    what = f"{'nothing' if passed else 'something'} of it is left"
    line = f"stack {stack}: removed, {what} ({counts['passed']} checks passed{more})"
    console().print(line, markup=False)


def show_benchmarks(benchmarks: dict[str, dict[str, Any]]) -> None:
    """Print every table of every module, or why it has no figures."""
    out = console()
    for module, tables in sorted(benchmarks.items()):
        for name, table in sorted(tables.items()):
            heading = f"module {module}, {name}"
            if "skipped" in table:
                out.print(f"{heading}: no figures: {table['skipped']}", markup=False)
                continue
            out.print(f"\n{heading}, {table['unit']}", markup=False)
            out.print(_table_of_figures(table["rows"], table.get("columns", [])))
            if "raw" in table:
                files = ", ".join(place["path"] for place in table["raw"])
                shown = f"{len(table['rows'])} of {table['row_count']} rows"
                out.print(f"{shown}; whole in {files}", markup=False)
            if facts := _describe(table):
                out.print(facts, markup=False)


def _table_of_figures(rows: Sequence[dict[str, Any]], chosen: Sequence[tuple[str, str]]) -> Table:
    """chosen: the columns for which there is room, with their headings; [] for all of them."""
    cells = [(key, value) for row in rows for key, value in row.items()]
    plain = dict.fromkeys(key for key, value in cells if not isinstance(value, list | dict))
    columns: dict[str, str] = dict(chosen) or {key: key for key in plain}
    numbers = {
        columns[key] for key, value in cells if isinstance(value, int | float) and key in columns
    }
    lines = [[Text(_cell(row.get(column))) for column in columns] for row in rows]
    return make_table(columns.values(), lines, right=numbers, narrow=bool(chosen))


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= MANY else f"{value:.4g}"
    return str(value)


def _describe(table: dict[str, Any]) -> str:
    hidden = ("module", "name", "unit", "row_count", "versions")
    facts = {key: value for key, value in table.items() if not isinstance(value, list | dict)}
    found = [*facts.items(), *table.get("environment", {}).items()]
    return ", ".join(f"{key} {_cell(value)}" for key, value in found if key not in hidden)


def latest(stack: str) -> Path | None:
    """The results of the last update of the stack, or of its removal; None without one."""
    path = (RESULTS / stack / "latest").resolve() / "results.json"
    return path if path.exists() else None


def show_latest(stack: str, as_json: bool = False) -> int:
    """Print what the last update of the stack found; returns 1 if there is nothing."""
    path = latest(stack)
    if path is None:
        sys.stderr.write(f"no results of stack {stack} yet; run: make up STACK={stack}\n")
        return 1
    kept = json.loads(path.read_text())
    if as_json:
        sys.stdout.write(json.dumps(kept, indent=2) + "\n")
        return 0
    show(kept["verification"])
    show_benchmarks(kept.get("benchmarks", {}))
    out = console()
    if reason := kept.get("reason"):
        out.print(f"did not complete: {reason}", markup=False)
    if kept["status"] == "removed":
        out.print("what stands above was found before the lab was removed", markup=False)
    found = kept.get("basis", {})
    counts = [f"{found[each]} {each}" for each in BASES if found.get(each)]
    basis = f", basis: {', '.join(counts)}" if counts else ""
    where = f"{basis}, results in {path.relative_to(Path.cwd())}"
    out.print(Text.assemble(f"stack {stack}: ", status(kept["status"]), where))
    return 0


def show_stacks(rows: Iterable[Sequence[str]]) -> None:
    columns = ("stack", "modules", "shows", "needs", "takes")
    console().print(make_table(columns, rows, right=["takes"]))


def status(name: str) -> Text:
    return Text(name, style=COLOURS.get(name, ""))
