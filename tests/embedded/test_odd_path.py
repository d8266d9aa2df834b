"""A checkout may lie where people put things: its path has spaces and more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkout import Checkout


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    odd = tmp_path / "my lab; it's d=e & f (g) +@[h] Übung"
    odd.mkdir()
    return odd


def test_a_lab_works_in_a_path_with_spaces_and_makes_nothing_beside_it(
    checkout: Checkout, tmp_path: Path
) -> None:
    beside = sorted(tmp_path.parent.iterdir())
    checkout.stack("module1")
    made = checkout.up("module1")
    assert made.code == 0, made.text
    assert checkout.outputs("module1")["status"] == "passed"
    assert checkout.destroy("module1").code == 0
    assert sorted(tmp_path.parent.iterdir()) == beside
