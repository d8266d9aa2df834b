"""Who may import whom: the contracts of pyproject.toml, which `make lint` checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkout import Checkout

LINT = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]


def test_the_floors_hold() -> None:
    done = subprocess.run(LINT, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "line", "above"),
    [
        ("kube/errors.py", "from machine", "checks"),
        ("operations/stack/half_made.py", "from typing", "operations.stack.stacks"),
    ],
)
def test_an_import_of_a_floor_above_is_refused(
    tmp_path: Path, file: str, line: str, above: str
) -> None:
    copy = Checkout.make(tmp_path / "checkout")
    copy.edit(file, line, f"import {above}\n{line}")
    done = subprocess.run(
        LINT, cwd=copy.folder, capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode == 1
    below = file.removesuffix(".py").replace("/", ".").removesuffix(".errors")
    assert f"{below} is not allowed to import {above}" in done.stdout
