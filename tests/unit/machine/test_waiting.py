"""What is waited for is tried until it comes, until the time is over, or until it is hopeless."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from machine import waiting
from machine.errors import LabError


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PAUSE_SECONDS", 0)


def answers(*errors: Exception) -> Callable[[], str]:
    """Raises one after the other, then answers."""
    left = list(errors)

    def ask() -> str:
        if left:
            raise left.pop(0)
        return "here"

    return ask


def test_it_is_tried_until_it_comes() -> None:
    ask = answers(LabError("not yet"), LabError("nearly"))
    assert waiting.until(60, LabError)(ask) == "here"


def test_when_the_time_is_over_the_last_reason_is_told() -> None:
    with pytest.raises(LabError, match="not yet"):
        waiting.until(0, LabError)(answers(LabError("not yet")))


def test_an_error_that_does_not_pass_is_told_at_once() -> None:
    ask = answers(ValueError("never"), LabError("not yet"))
    with pytest.raises(ValueError, match="never"):
        waiting.until(60, LabError)(ask)


def test_a_lock_that_another_has_is_waited_for_with_a_word_and_a_deadline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys, filelock; l = filelock.FileLock(sys.argv[1]); l.acquire(); print(flush=True);"
    )
    code += "sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with (
            pytest.raises(LabError, match=f"{other.pid}.* has not ended after 0 s; end it"),
            waiting.locked(path, "the recovery", 0.2),
        ):
            raise AssertionError("it is held")
        other.communicate()
    assert f"(process {other.pid}), 0 s at most" in capsys.readouterr().err
    for _ in range(2):
        with waiting.locked(path, "the recovery"):
            pass
    assert capsys.readouterr().err == ""
