"""How the project's programs are run, and what their environment tells them."""

from __future__ import annotations

from collections.abc import Mapping

PYTHON = ".venv/bin/python"
"""Relative, as all that Commands are told: a checkout that was moved can still remove its lab."""
MARK = "DRA_WORKSHOP_COMMAND"
"""In the environment of every program that the graph runs: one that outlived its engine is known
by it (operations/stack/recover.py)."""
VERIFY = "DRA_WORKSHOP_VERIFY"
"""In the environment of an update: it asks for a new run of every check (`make verify`)."""
CHECKS: Mapping[str, str] = {
    "prerequisites": "checks.prerequisites.embedded",
    "host": "checks.prerequisites.host_node",
    "workstation": "checks.prerequisites.kind",
    "existing": "checks.prerequisites.existing",
    "cluster": "checks.modules.cluster",
    "kind-nodes": "checks.modules.kind_nodes",
    "driver": "checks.modules.driver",
    "exclusive": "checks.modules.exclusive",
    "mps-sharing": "checks.modules.mps_sharing",
    "mps-percentage": "checks.modules.mps_percentage",
    "mps-memory": "checks.modules.mps_memory",
}
"""The programs of `python -m checks NAME` that verify something, and where their code is. It is
loaded by that name, so that none counts as part of another (components/sources.py)."""
VERDICT = "checks.verdict"
"""Weighs what they found, at the end of an update."""
