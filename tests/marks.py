"""Marks of tests: which ones `make test` leaves to `make test-all`."""

from __future__ import annotations

from typing import Any

import pytest


def repeat(*values: Any, id: str | None = None) -> Any:  # noqa: A002 (pytest's name)
    """A case of a parametrized test that is one more of a kind which the others show."""
    return pytest.param(*values, id=id, marks=pytest.mark.repeat)
