"""Results as a table in the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

COLOURS = {"passed": "green", "warning": "yellow", "failed": "red", "skipped": "dim"}


def show(verification: dict[str, Any], console: Console | None = None) -> None:
    """Print every statement of every module, and below it what failed and how to mend it."""
    console = console or Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("module", "check", "status", "", "found"):
        table.add_column(column, overflow="fold")
    table.add_column("seconds", justify="right")
    for module, result in sorted(verification.items()):
        if result.get("reason"):
            table.add_row(module, "", status(result["status"]), "", result["reason"], "")
        for finding in result["checks"]:
            table.add_row(
                module,
                finding["id"],
                status(finding["status"]),
                "simulated" if finding["simulated"] else "",
                Text(finding["found"]),
                f"{finding['seconds']:.1f}",
            )
    console.print(table)
    for module, result in sorted(verification.items()):
        for finding in result["checks"]:
            if finding["status"] in ("failed", "warning"):
                console.print(
                    f"module {module}, {finding['id']}: expected {finding['expected']}; "
                    f"{finding['remedy']}",
                    markup=False,
                )


def status(name: str) -> Text:
    return Text(name, style=COLOURS.get(name, ""))
