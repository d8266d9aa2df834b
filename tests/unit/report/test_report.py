"""Results for people: every statement in a table, and below it what failed and how to fix it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from checks.sharing_table import COLUMNS
from report.results import show, show_benchmarks, show_latest, show_stacks
from results.status import skipped

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def nobody_asks_for_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def result(status: str, found: str = "Pending", basis: str = "simulated") -> dict[str, Any]:
    finding = {
        "id": "hand-over",
        "title": "pod-2 runs",
        "status": status,
        "basis": basis,
        "expected": "Running",
        "found": found,
        "seconds": 1.26,
        "remedy": "" if status == "passed" else "look at it",
    }
    return {"module": "3", "status": status, "checks": [finding]}


def shown(capsys: Captured, **modules: dict[str, Any]) -> list[str]:
    """The lines of the report, of modules given as m3=…."""
    show({name.removeprefix("m"): result for name, result in modules.items()})
    return capsys.readouterr().out.splitlines()


def test_a_statement_is_a_row_that_says_what_it_rests_on(capsys: Captured) -> None:
    header, simulated, mocked = shown(
        capsys, m3=result("passed", "Running"), m4=result("passed", "Running", basis="mocked")
    )
    assert header.split() == ["module", "check", "status", "basis", "found", "seconds"]
    assert simulated.split() == ["3", "hand-over", "passed", "simulated", "Running", "1.3"]
    assert mocked.split() == ["4", "hand-over", "passed", "mocked", "Running", "1.3"]


@pytest.mark.parametrize("status", ["failed", "warning"])
def test_below_the_table_stands_how_to_mend_what_is_wrong(capsys: Captured, status: str) -> None:
    *_, last = shown(capsys, m2=result("passed"), m3=result(status))
    assert last == "module 3, hand-over: expected Running; look at it"


def test_below_the_table_of_what_passed_or_was_skipped_stands_nothing(capsys: Captured) -> None:
    assert len(shown(capsys, m3=result("passed"), m4=result("skipped"))) == 3


def test_a_module_that_was_not_run_says_why(capsys: Captured) -> None:
    _, row = shown(capsys, m3=skipped("3", "needs module 2"))
    assert row.split() == ["3", "skipped", "needs", "module", "2"]


def test_modules_are_in_order(capsys: Captured) -> None:
    rows = shown(capsys, m3=result("passed"), m0=result("passed"), m2=result("passed"))[1:]
    assert [row.split()[0] for row in rows] == ["0", "2", "3"]


def test_what_looks_like_markup_is_shown_as_it_is(capsys: Captured) -> None:
    text = "[red]no[/red] [/] ['brand']"
    failed = result("failed", text)
    failed["checks"][0]["remedy"] = text
    _, row, below = shown(capsys, m3=failed)
    assert text in row
    assert below.endswith(text)


def test_where_there_is_no_terminal_lines_are_as_long_as_they_need_to_be(capsys: Captured) -> None:
    text = "0/1 nodes are available: " * 8
    _, row = shown(capsys, m3=result("passed", text))
    assert text in row
    failed = result("failed")
    failed["checks"][0]["remedy"] = text
    *_, below = shown(capsys, m3=failed)
    assert below.rstrip() == f"module 3, hand-over: expected Running; {text}".rstrip()


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The results of the last update of the stack "lab"."""
    monkeypatch.chdir(tmp_path)
    content = {
        "status": "failed",
        "basis": {"real": 3, "mocked": 20, "simulated": 0},
        "simulated": "partly",
        "verification": {"3": result("failed")},
    }
    folder = tmp_path / ".results" / "lab" / "latest"
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(content))
    return content


def test_the_latest_results_end_with_the_status_of_the_stack(
    kept: dict[str, Any], capsys: Captured
) -> None:
    assert show_latest("lab") == 0
    *table, last = capsys.readouterr().out.splitlines()
    assert "hand-over" in table[1]
    where = "results in .results/lab/latest/results.json"
    assert last == f"stack lab: failed, basis: 3 real, 20 mocked, {where}"


def test_the_latest_results_are_json_when_asked(kept: dict[str, Any], capsys: Captured) -> None:
    assert show_latest("lab", as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == kept


def test_a_stack_without_results_says_how_to_get_some(
    kept: dict[str, Any], capsys: Captured
) -> None:
    assert show_latest("other") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "no results of stack other yet; run: make up STACK=other\n"


TABLE = {
    "module": "5",
    "name": "rates",
    "unit": "TFLOPS",
    "rows": [
        {"percentage": 100, "values": [66.3, 66.3], "median": 66.30609, "bandwidth": 4049.66},
        {"percentage": 20, "values": [13.1], "median": 13.06, "slowdown": None},
    ],
    "jain": 0.99999,
    "environment": {"gpu": "NVIDIA [H200]", "driver": "580.159.04", "versions": {"a": "1"}},
}


def test_a_table_of_figures_shows_single_values_and_where_they_are_from(capsys: Captured) -> None:
    show_benchmarks({"5": {"rates": TABLE}})
    _, heading, header, first, second, facts = capsys.readouterr().out.splitlines()
    assert heading == "module 5, rates, TFLOPS"
    assert header.split() == ["percentage", "median", "bandwidth", "slowdown"]
    assert first.split() == ["100", "66.31", "4,050", "–"]
    assert second.split() == ["20", "13.06", "–", "–"]
    assert facts == "jain 1, gpu NVIDIA [H200], driver 580.159.04"


def test_a_shortened_table_says_where_the_whole_is(capsys: Captured) -> None:
    raw = [{"path": ".results/lab/raw/one.json", "sha256": "abc"}]
    show_benchmarks({"5": {"rates": TABLE | {"raw": raw, "row_count": 148}}})
    *_, where, facts = capsys.readouterr().out.splitlines()
    assert where == "2 of 148 rows; whole in .results/lab/raw/one.json"
    assert facts.startswith("jain 1, gpu")


def test_a_table_without_figures_says_why(capsys: Captured) -> None:
    show_benchmarks({"5": {"rates": {"skipped": "needs a GPU: [none]"}}})
    assert capsys.readouterr().out == "module 5, rates: no figures: needs a GPU: [none]\n"


def test_the_latest_results_show_what_was_measured(kept: dict[str, Any], capsys: Captured) -> None:
    kept["benchmarks"] = {"5": {"rates": TABLE}}
    Path(".results/lab/latest/results.json").write_text(json.dumps(kept))
    assert show_latest("lab") == 0
    out = capsys.readouterr().out
    assert out.index("hand-over") < out.index("rates") < out.index("stack lab")


def test_stacks_are_listed_with_what_they_show(capsys: Captured) -> None:
    show_stacks([("dev", "0-3", "the basics", "nothing", "1 min")])
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["stack", "modules", "shows", "needs", "takes"]
    assert row.split() == ["dev", "0-3", "the", "basics", "nothing", "1", "min"]


def test_a_wide_comparison_fits_a_terminal_of_80_columns(capsys: Captured) -> None:
    row = {"way": "mps-daemonset", "clients": 4, "total": 66.31, "each": 16.58, "slowdown": 4.001,
           "gain": 0.9981, "jain": 0.999998, "p50_us": 16340.0, "p99_us": 16420.0,
           "joules": 0.01234, "cv": 0.000123, "power_w": 650.1}  # fmt: skip
    missing = {"way": "shares", "clients": None, "skipped": "needs consumableShares"}
    table = {"unit": "TFLOPS", "rows": [row, missing], "columns": COLUMNS, "cells": ".results/m"}
    show_benchmarks({"5": {"sharing-compute": table}})
    lines = capsys.readouterr().out.splitlines()
    figures = next(line for line in lines if line.startswith("mps-daemonset"))
    assert len(figures) <= 80
    assert figures.split()[:4] == ["mps-daemonset", "4", "66.31", "16.58"]
    assert any(line.split()[0] == "shares" for line in lines if line)
