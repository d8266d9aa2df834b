"""What faults did, as tables of 80 columns."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console

from report.results import status
from report.tables import make_table

WIDTH = 80
KINDS = {"effect": "seen", "recovery": "back", "unharmed": "stays", "": ""}
"""What a finding is to a user."""


def _console() -> Console:
    return Console(highlight=False, width=WIDTH)


def show_list(rows: Iterable[tuple[str, str, str]]) -> None:
    """rows: name, what it breaks, what it needs."""
    _console().print(make_table(("fault", "breaks", "needs"), rows))


def show(result: Mapping[str, Any]) -> None:
    """One fault: a row for each thing that was seen, with the seconds since the injection."""
    out = _console()
    out.print(f"\n{result['fault']}: {result['breaks']}", markup=False)
    rows = [
        (KINDS[each["kind"]], each["title"], status(each["status"]), _seconds(each), each["found"])
        for each in result["checks"]
    ]
    columns = ("", "what", "status", "s", "found")
    out.print(make_table(columns, rows, right=["s"]))


def _seconds(finding: Mapping[str, Any]) -> str:
    timed = finding["kind"] in ("effect", "recovery") and finding["status"] != "skipped"
    return f"{finding['seconds']:.1f}" if timed else ""
