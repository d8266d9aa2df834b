"""What all tiers share. Every test that makes a cluster gets a copy of the project; whatever it
leaves running is ended and reported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.checkout import Checkout


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", action="store_true", help="write the golden previews anew")


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    made = Checkout.make(tmp_path / "checkout")
    yield made
    left = made.processes()
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"]
        if command and command[0].startswith(str(made.folder.resolve())):
            process.kill()
    assert left == [], "processes were left running"
