"""The README's tables say what the program has."""

from __future__ import annotations

import pytest

from report import readme


def test_generated_parts_are_true() -> None:
    text = readme.README.read_text()
    assert readme.renewed(text) == text, "run: make docs"


def test_a_missing_part_is_an_error() -> None:
    with pytest.raises(ValueError, match="no part config"):
        readme.renewed("nothing")
