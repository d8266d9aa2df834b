"""What is waited for is tried until it comes, until the time is over, or until it is hopeless."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from operations import waiting
from operations.errors import OperationError


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
    ask = answers(OperationError("not yet"), OperationError("nearly"))
    assert waiting.until(60, OperationError)(ask) == "here"


def test_when_the_time_is_over_the_last_reason_is_told() -> None:
    with pytest.raises(OperationError, match="not yet"):
        waiting.until(0, OperationError)(answers(OperationError("not yet")))


def test_an_error_that_does_not_pass_is_told_at_once() -> None:
    ask = answers(ValueError("never"), OperationError("not yet"))
    with pytest.raises(ValueError, match="never"):
        waiting.until(60, OperationError)(ask)
