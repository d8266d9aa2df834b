"""What set-up has compiled: programs of the lab, started for the first time, find all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from toolchain.layout import ROOT

PROGRAMS = (
    ("-c", "import components.lab"),
    ("-m", "checks", "--help"),
    ("-m", "operations", "--help"),
    (
        "-c",
        "import checks.modules.exclusive, kube.client; import operations.readiness, report.results",
    ),
)


def run(compiled: Path, *arguments: str, **environment: str) -> None:
    """Run Python, with its bytecode in a folder of the test's."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    own |= {"PYTHONPYCACHEPREFIX": str(compiled)} | environment
    subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=own, check=True, stdout=subprocess.DEVNULL
    )


def of_lab(compiled: Path) -> set[Path]:
    """Without Python's own library, which comes compiled."""
    return set((compiled / ROOT.relative_to("/")).rglob("*.pyc"))


def test_a_first_start_compiles_nothing_also_where_python_keeps_no_bytecode(tmp_path: Path) -> None:
    run(tmp_path, "-c", "import toolchain")  # what set-up itself starts with
    run(tmp_path, "-m", "toolchain.bytecode", PYTHONDONTWRITEBYTECODE="1")
    compiled = of_lab(tmp_path)
    for program in PROGRAMS:
        run(tmp_path, *program)
    assert of_lab(tmp_path) - compiled == set()
    assert len(compiled) > len(PROGRAMS)
