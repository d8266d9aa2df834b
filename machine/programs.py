"""How the project's programs are run, and what their environment tells them."""

from collections.abc import Mapping
from pathlib import Path

PYTHON = ".venv/bin/python"
"""Relative, as all paths of Commands: a checkout that was moved can still remove its lab."""
MARK = "DRA_WORKSHOP_COMMAND"
"""In the environment of every program that the graph runs: marks those that outlived their engine
(operations/stack/recover.py)."""
VERIFY = "DRA_WORKSHOP_VERIFY"
"""In the environment of an update that runs every check again (`make verify`)."""
MODULES = Path(__file__).parents[1] / "checks" / "modules"
CHECKS: Mapping[str, str] = {
    "prerequisites": "checks.prerequisites.embedded",
    "host": "checks.prerequisites.host_node",
    "workstation": "checks.prerequisites.kind",
    "existing": "checks.prerequisites.existing",
    **{
        file.stem.replace("_", "-"): f"checks.modules.{file.stem}"
        for file in sorted(MODULES.glob("[!_]*.py"))
    },
}
"""The programs of `python -m checks NAME` that verify something → their code. It is loaded by name,
so that none counts as part of another (components/sources.py)."""
VERDICT = "checks.verdict"
"""Weighs what they found, at the end of an update."""


def record_name(check: str, variant: str = "") -> str:
    """Of the file in which a check leaves its result: programs may verify variants of a module."""
    return f"{check}-{variant}" if variant else check
