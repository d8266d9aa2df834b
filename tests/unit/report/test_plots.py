"""Plots are drawn from saved results alone."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from report import plots


def row(way: str, clients: int | None, gain: float | None, **more: Any) -> dict[str, Any]:
    return {"way": way, "clients": clients, "gain": gain, "cv": 0.01, "p99_us": 90.0} | more


def saved(folder: Path, **tables: Any) -> Path:
    path = folder / "results.json"
    path.write_text(json.dumps({"benchmarks": {"5": tables}}))
    return path


TABLE = {
    "unit": "TFLOPS",
    "rows": [
        row("exclusive", 1, 1.0),
        row("mps-driver", 2, 1.3),
        row("mps-driver", 4, 1.4),
        {"way": "shares", "clients": None, "skipped": "needs consumableShares"},
    ],
    "environment": {"gpu": "NVIDIA H100", "driver": "580.159.04"},
}


def test_each_comparison_becomes_an_svg_beside_its_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, **{"sharing-compute": TABLE, "pod-start": {"unit": "s", "rows": []}})
    assert plots.main([str(path)]) == 0
    drawn = tmp_path / "sharing-compute.svg"
    assert capsys.readouterr().out == f"{drawn}\n"
    text = "".join(ET.parse(drawn).getroot().itertext())  # noqa: S314
    for word in ("NVIDIA H100", "mps-driver", "exclusive", "clients"):
        assert word in text
    assert "shares" not in text, "what was not measured has no line"


def test_the_same_results_make_the_same_file(tmp_path: Path) -> None:
    path = saved(tmp_path, **{"sharing-compute": TABLE})
    plots.main([str(path)])
    first = (tmp_path / "sharing-compute.svg").read_bytes()
    plots.main([str(path)])
    assert (tmp_path / "sharing-compute.svg").read_bytes() == first


def test_without_figures_nothing_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, **{"sharing-compute": {"skipped": "needs a GPU: …"}})
    assert plots.main([str(path)]) == 1
    assert "no table that can be drawn" in capsys.readouterr().err
    assert [*tmp_path.glob("*.svg")] == []


def test_results_that_are_not_there_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        plots.main([str(tmp_path / "results.json")])
    assert "No such file" in capsys.readouterr().err
