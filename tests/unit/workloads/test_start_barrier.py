"""Programs start at the second that their pod's annotation names."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from workloads import start_barrier
from workloads.start_barrier import StartError

OTHERS = 'kubernetes.io/config.source="api"\nnote="dra-workshop/start=1"\n'


def annotated(moment: float | str) -> str:
    return f'{OTHERS}dra-workshop/start="{moment}"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        (OTHERS, None),
        ('dra-workshop/started="5"\n', None),
        (annotated(1795260010.477), 1795260010.477),
        (annotated("17"), 17.0),
    ],
)
def test_only_the_annotation_itself_is_the_start(text: str, expected: float | None) -> None:
    assert start_barrier.parse_start(text) == expected


@pytest.mark.parametrize("value", ["soon", "", "nan", "inf", "2026-11-21T11:00:00Z"])
def test_what_is_no_time_is_told(value: str) -> None:
    with pytest.raises(StartError, match="is not a time in seconds since 1970"):
        start_barrier.parse_start(annotated(value))


def test_a_value_that_is_not_quoted_text_is_told() -> None:
    with pytest.raises(StartError, match="is not a time"):
        start_barrier.parse_start("dra-workshop/start=null\n")


def test_it_waits_for_the_annotation_and_then_for_the_time(tmp_path: Path) -> None:
    path = tmp_path / "annotations"
    path.write_text(OTHERS)
    moment = time.time() + 0.6
    threading.Timer(0.2, path.write_text, [annotated(moment)]).start()
    found = start_barrier.wait(path, 10)
    assert found["requested"] == moment
    assert 0 <= found["late_seconds"] < 5
    assert found["begun"] == pytest.approx(moment + found["late_seconds"])


def test_a_start_that_has_passed_is_taken_at_once_and_said_to_be_late(tmp_path: Path) -> None:
    path = tmp_path / "annotations"
    path.write_text(annotated(time.time() - 30))
    assert start_barrier.wait(path, 1)["late_seconds"] == pytest.approx(30, abs=5)


def test_the_wait_for_the_annotation_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "annotations"
    path.write_text(OTHERS)
    with pytest.raises(StartError, match=r"no annotation dra-workshop/start=… in .* within 0 s"):
        start_barrier.wait(path, 0.3)


def test_a_start_beyond_the_limit_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "annotations"
    path.write_text(annotated(time.time() + 1000))
    with pytest.raises(StartError, match=r"the start is \d+ s ahead, the limit is 5 s"):
        start_barrier.wait(path, 5)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="annotations: No such file or directory"):
        start_barrier.wait(tmp_path / "annotations", 5)
