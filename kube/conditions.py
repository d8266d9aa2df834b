"""Conditions in the status of objects."""

from __future__ import annotations

from typing import Any


def condition(subject: Any, kind: str) -> Any:
    """The condition of that type in the object's status, None if it has none."""
    conditions = (subject.status.conditions or []) if subject.status else []
    return next((c for c in conditions if c.type == kind), None)


def is_true(subject: Any, kind: str) -> bool:
    found = condition(subject, kind)
    return found is not None and bool(found.status == "True")
