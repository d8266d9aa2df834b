"""Results as tables in the terminal."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from results.store import RESULTS

LONGEST = 2000
MANY = 1000
"""From here on a number is shown without decimals."""
COLOURS = {"passed": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}


def console() -> Console:
    """Where there is no terminal, lines are as long as they need to be."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else LONGEST)


def show(verification: dict[str, Any]) -> None:
    """Print every statement of every module, and below it what failed and how to fix it."""
    table = _table(("module", "check", "status", "", "found", "seconds"))
    for module, result in sorted(verification.items()):
        if result.get("reason"):
            table.add_row(module, "", status(result["status"]), "", Text(result["reason"]), "")
        for finding in result["checks"]:
            table.add_row(
                module,
                finding["id"],
                status(finding["status"]),
                "simulated" if finding["simulated"] else "",
                Text(finding["found"]),
                f"{finding['seconds']:.1f}",
            )
    out = console()
    out.print(table)
    for module, result in sorted(verification.items()):
        for finding in result["checks"]:
            if finding["status"] in ("failed", "warning"):
                line = (
                    f"module {module}, {finding['id']}: expected {finding['expected']}; "
                    f"{finding['remedy']}"
                )
                out.print(line, markup=False)


def show_removal(stack: str, result: dict[str, Any]) -> None:
    """One line where nothing is left, every statement where something is."""
    counts = Counter(finding["status"] for finding in result["checks"])
    if result["status"] != "passed":
        show({"0": result})
    skipped = [f"{f['id']} ({f['found']})" for f in result["checks"] if f["status"] == "skipped"]
    more = f"; skipped: {', '.join(skipped)}" if skipped else ""
    what = "nothing of it is left" if result["status"] == "passed" else "something of it is left"
    said = f"stack {stack}: removed, {what} ({counts['passed']} checks passed{more})"
    console().print(said, markup=False)


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
            out.print(_rows(table["rows"]))
            if "raw" in table:
                files = ", ".join(place["path"] for place in table["raw"])
                out.print(
                    f"{len(table['rows'])} of {table['row_count']} rows; whole in {files}",
                    markup=False,
                )
            if facts := _facts(table):
                out.print(facts, markup=False)


def _rows(rows: Sequence[dict[str, Any]]) -> Table:
    """What is one value a cell; lists of single values stay in the JSON."""
    columns = list(
        dict.fromkeys(
            key for row in rows for key, value in row.items() if not isinstance(value, list | dict)
        )
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        numbers = any(isinstance(row.get(column), int | float) for row in rows)
        table.add_column(column, overflow="fold", justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*(Text(_cell(row.get(column))) for column in columns))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= MANY else f"{value:.4g}"
    return str(value)


def _facts(table: dict[str, Any]) -> str:
    """What holds for the whole table, and where it was measured."""
    facts = {
        key: value
        for key, value in table.items()
        if key not in ("module", "name", "unit", "row_count") and not isinstance(value, list | dict)
    }
    parts = [f"{key} {_cell(value)}" for key, value in facts.items()]
    measured = table.get("environment", {})
    parts += [f"{key} {_cell(value)}" for key, value in measured.items() if key != "versions"]
    return ", ".join(parts)


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
    if reason := kept.get("reason"):
        console().print(f"did not complete: {reason}", markup=False)
    if kept["status"] == "removed":
        console().print("what stands above was found before the lab was removed", markup=False)
    simulated = f", simulated: {kept['simulated']}" if "simulated" in kept else ""
    console().print(
        Text.assemble(
            f"stack {stack}: ", status(kept["status"]), simulated,
            f", results in {path.relative_to(Path.cwd())}",
        )
    )  # fmt: skip
    return 0


def show_stacks(rows: Iterable[Sequence[str]]) -> None:
    table = _table(("stack", "modules", "shows", "needs", "takes"))
    for row in rows:
        table.add_row(*row)
    console().print(table)


def _table(columns: Iterable[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column in ("seconds", "takes")
        table.add_column(column, overflow="fold", justify="right" if right else "left")
    return table


def status(name: str) -> Text:
    return Text(name, style=COLOURS.get(name, ""))
