"""Who may import whom: the contracts of pyproject.toml, which `make lint` checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.checkout import Checkout

LINT = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]


def test_the_floors_hold() -> None:
    done = subprocess.run(LINT, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout


def test_an_import_of_a_floor_above_is_refused(tmp_path: Path) -> None:
    copy = Checkout.make(tmp_path / "checkout")
    copy.edit("kube/errors.py", "from machine", "import checks\nfrom machine")
    done = subprocess.run(
        LINT, cwd=copy.folder, capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode == 1
    assert "kube is not allowed to import checks" in done.stdout
