"""The end of an update: say what failed, and fail the update when strict."""

from typing import Any

import psutil

from checks.result import CheckFailed
from results import broken_off, store
from results.status import verdict

ENGINE = "pulumi"


def weigh(given: dict[str, Any]) -> str:
    """Keep the results; returns the status of the stack.

    Raises CheckFailed, with every failed statement and its remedy, when strict and something
    failed."""
    results = given["verification"]
    status = verdict(result["status"] for result in results.values())
    versions = given.get("versions", {}) | {"tools": broken_off.tool_versions()}
    content = given | {"status": status, "versions": versions}
    store.keep(given["stack"], content, update_started())
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

    Without an update in progress nothing is kept.
    """
    if started := update_started():
        broken_off.keep(stack, started, f"{gate}: {reason}")


def update_started() -> float | None:
    """When the update began that runs this program, seconds since 1970; None without one."""
    engines = [process for process in psutil.Process().parents() if process.name() == ENGINE]
    return engines[0].create_time() if engines else None


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
                    f"module {module}, {finding['id']}: {finding['title']}: failed",
                    f"  expected: {finding['expected']}",
                    f"  found:    {finding['found']}",
                    f"  remedy:   {finding['remedy']}",
                ]
    return "\n".join(lines)
