"""A sweep that is killed, stops or fails goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from checks.cells import GO_ON, Cell, Cells
from checks.result import CheckFailed

CELLS = [Cell(f"mps-{number}", {"clients": number}) for number in (1, 2, 4)]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def cells(minutes: float = 10) -> Cells:
    return Cells("module5", "quick", minutes)


class Measure:
    """Measures cells, and breaks at those that are named so."""

    def __init__(self, **breaks: BaseException) -> None:
        self.breaks = {name.replace("_", "-"): error for name, error in breaks.items()}
        self.asked: list[str] = []

    def __call__(self, cell: Cell) -> dict[str, Any]:
        self.asked.append(cell.name)
        if error := self.breaks.get(cell.name):
            raise error
        return {"rate": cell.configuration["clients"] * 10}


def test_what_is_measured_is_kept_and_not_measured_again() -> None:
    assert cells().measure(CELLS, Measure()) == "3 of 3 cells"
    again = Measure()
    assert cells().measure(CELLS, again) == "3 of 3 cells, 3 of them kept from before"
    assert again.asked == []
    kept = cells().kept(CELLS[1])
    assert kept is not None
    assert (kept["rate"], kept["cell"], kept["configuration"]) == (20, "mps-2", {"clients": 2})


def test_a_killed_sweep_goes_on_with_the_cell_that_it_was_at() -> None:
    with pytest.raises(KeyboardInterrupt):
        cells().measure(CELLS, Measure(mps_2=KeyboardInterrupt()))
    again = Measure()
    cells().measure(CELLS, again)
    assert again.asked == ["mps-2", "mps-4"]


def test_a_cell_that_fails_does_not_stop_the_others_and_is_measured_next_time() -> None:
    with pytest.raises(CheckFailed) as failed:
        cells().measure(CELLS, Measure(mps_2=CheckFailed("a pod is Pending")))
    assert failed.value.found == "2 of 3 cells; mps-2: a pod is Pending"
    again = Measure()
    cells().measure(CELLS, again)
    assert again.asked == ["mps-2"]


def test_another_configuration_is_another_cell() -> None:
    cells().measure(CELLS, Measure())
    changed, again = Cell("mps-2", {"clients": 2, "gpuDriver": "590"}), Measure()
    cells().measure([changed], again)
    assert again.asked == ["mps-2"]


def test_when_the_time_is_over_it_says_what_is_left_and_how_to_go_on() -> None:
    some = cells(minutes=-1)
    with pytest.raises(CheckFailed) as failed:
        some.measure(CELLS, Measure())
    assert failed.value.found.startswith("0 of 3 cells; 3 left after")
    assert failed.value.remedy == GO_ON
    assert "mps-1, mps-2, mps-4" in failed.value.found


@pytest.mark.parametrize("text", ["", "{", '{"digest": "another"}'])
def test_a_damaged_file_is_measured_anew(text: str) -> None:
    cells().measure(CELLS, Measure())
    cells().path(CELLS[0]).write_text(text)
    again = Measure()
    cells().measure(CELLS, again)
    assert again.asked == ["mps-1"]
    assert json.loads(cells().path(CELLS[0]).read_text())["rate"] == 10
