"""How the project's programs are run, and what their environment tells them."""

from __future__ import annotations

PYTHON = ".venv/bin/python"
"""Relative, as all that Commands are told: a checkout that was moved can still remove its lab."""
MARK = "DRA_WORKSHOP_COMMAND"
"""In the environment of every program that the graph runs: one that outlived its engine is known
by it (operations/stack/recover.py)."""
VERIFY = "DRA_WORKSHOP_VERIFY"
"""In the environment of an update: it asks for a new run of every check (`make verify`)."""
