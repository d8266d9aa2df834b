"""The end of an update: say what failed, and fail the update when strict."""

from __future__ import annotations

from typing import Any

import psutil

from checks.result import CheckFailed
from results import store
from results.status import verdict

ENGINE = "pulumi"


def weigh(given: dict[str, Any]) -> str:
    """Keep the results; returns the status of the stack.

    Raises CheckFailed, with every failed statement and its remedy, when strict and something
    failed."""
    results = given["verification"]
    status = verdict(result["status"] for result in results.values())
    store.keep(given["stack"], given | {"status": status})
    if status == "failed" and given["strict"]:
        raise CheckFailed(explain(results))
    return status


def require(results: list[dict[str, Any]]) -> str:
    """Raises CheckFailed, with what failed and the remedy, unless all results passed."""
    failed = [explain({r["module"]: r}) for r in results if r["status"] != "passed"]
    if failed:
        raise CheckFailed("\n".join(failed))
    return "passed"


def refused(stack: str, gate: str, reason: str) -> None:
    """Keep that a gate has ended the update that runs it.

    An update in progress is a process over this one; without one nothing is kept.
    """
    engines = [process for process in psutil.Process().parents() if process.name() == ENGINE]
    if engines:
        store.broken_off(stack, engines[0].create_time(), f"{gate}: {reason}")


def explain(results: dict[str, Any]) -> str:
    """Every failed statement with what was expected, what was found and the remedy, and why a
    module was skipped."""
    lines = []
    for module, result in sorted(results.items()):
        if result.get("reason"):
            lines.append(f"module {module}: skipped, {result['reason']}")
        for finding in result["checks"]:
            if finding["status"] == "failed":
                lines += [
                    f"module {module}, {finding['id']}: {finding['title']}: not so",
                    f"  expected: {finding['expected']}",
                    f"  found:    {finding['found']}",
                    f"  remedy:   {finding['remedy']}",
                ]
    return "\n".join(lines)
