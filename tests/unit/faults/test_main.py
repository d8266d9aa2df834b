"""`make break` as it is typed: the list, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from faults import __main__ as program
from faults.catalogue import FAULTS
from machine import cluster_state
from machine.errors import LabError
from machine.files import write_json
from report import faults as report


def typed(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["faults", "--stack", "module4", *arguments])
    return program.main()


def test_without_a_name_every_fault_is_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [name for name in FAULTS if any(line.startswith(f"{name} ") for line in lines)] == [
        *FAULTS
    ]
    assert max(map(len, lines)) <= 80


def test_an_unknown_name_is_refused_with_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(monkeypatch, "--fault", "mps-demon") == 1
    error = capsys.readouterr().err
    assert "there is no fault 'mps-demon'; faults: mps-daemon, " in error


def test_a_lab_that_is_not_up_is_not_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert typed(monkeypatch, "--fault", "plugin") == 1
    assert "run: make up STACK=module4" in capsys.readouterr().err


def test_a_lab_with_a_failed_check_is_not_broken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster_state, "runs", lambda _stack: True)
    folder = tmp_path / ".results/module4/latest"
    folder.mkdir(parents=True)
    for status, refused in (("failed", True), ("passed", False)):
        write_json(folder / "results.json", {"status": status})
        if refused:
            with pytest.raises(LabError, match="not up with every check passed"):
                program.require_up("module4")
        else:
            program.require_up("module4")


def test_a_stack_without_module_4_has_no_clients(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LabError, match="stack module3 has no check mps-sharing"):
        program.read_parameters("module3")


def test_a_result_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    finding = {
        "kind": "recovery", "title": "its daemon is back, another pod", "status": "passed",
        "seconds": 2.04, "found": "pod mps-control-daemon-" + "f" * 60,
    }  # fmt: skip
    report.show({"fault": "mps-daemon", "breaks": "the pod " * 20, "checks": [finding]})
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("back") and " 2.0 " in line for line in lines)
