"""The end of an update: keep every result, say what failed, and fail the update when strict.

An update that breaks off before its verdict, and a removal, leave results as well: what lies under
`latest` is never older than the lab.

Results go to `.results/<stack>/<UTC time>/results.json`; `latest` points to the newest.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from checks.result import NotSo, merged_results, verdict

RESULTS = Path(".results")
ENGINE = "pulumi"


def weigh(given: dict[str, Any]) -> str:
    """Keep the results; returns the status of the stack.

    Raises NotSo, with every failed statement and its remedy, when strict and something failed.
    """
    results = given["verification"]
    status = verdict(result["status"] for result in results.values())
    keep(given["stack"], given | {"status": status})
    if status == "failed" and given["strict"]:
        raise NotSo(explain(results))
    return status


def require(results: list[dict[str, Any]]) -> str:
    """Raises NotSo, with what failed and the remedy, unless all results passed."""
    failed = [explain({r["module"]: r}) for r in results if r["status"] != "passed"]
    if failed:
        raise NotSo("\n".join(failed))
    return "passed"


def broken_off(stack: str, since: float, reason: str) -> Path:
    """Keep what an update found before it broke off; returns the file.

    since: when it began, seconds since 1970; reason: why it broke off.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((RESULTS / stack / "checks").glob("*.json")):
        record = json.loads(path.read_text())
        if path.stat().st_mtime >= since and record["result"]:
            found.setdefault(record["result"]["module"], []).append(record["result"])
    verification = {module: merged_results(results) for module, results in found.items()}
    return keep(
        stack,
        {"stack": stack, "status": "failed", "reason": reason, "verification": verification},
    )


def refused(stack: str, gate: str, reason: str) -> None:
    """Keep that a gate has ended the update that runs it.

    An update in progress is a process over this one; without one nothing is kept.
    """
    engines = [process for process in psutil.Process().parents() if process.name() == ENGINE]
    if engines:
        broken_off(stack, engines[0].create_time(), f"{gate}: {reason}")


def removed(stack: str, removal: dict[str, Any] | None = None) -> None:
    """Keep that the lab was removed, beside what was found before.

    removal: what proves that nothing is left (checks/teardown.py), where somebody looked.
    """
    path = RESULTS / stack / "latest" / "results.json"
    try:
        last = json.loads(path.read_text())
    except (OSError, ValueError):
        last = {"stack": stack, "verification": {}}
    clean = removal is None or removal["status"] == "passed"
    reason = "" if clean else "something of the lab is left"
    content = last | {"status": "removed" if clean else "failed", "reason": reason}
    content |= {"removal": removal}
    if last.get("status") == "removed":
        write(path, content)  # the same removal, seen to its end
    else:
        keep(stack, content)


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


def keep(stack: str, content: dict[str, Any]) -> Path:
    """Write the results of this update beside those of earlier ones; returns the file."""
    name = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    folder = RESULTS / stack / name
    folder.mkdir(parents=True)
    path = folder / "results.json"
    write(path, content)
    link = RESULTS / stack / ".latest.new"
    link.unlink(missing_ok=True)
    link.symlink_to(name)
    link.replace(RESULTS / stack / "latest")
    return path


def write(path: Path, content: dict[str, Any]) -> None:
    """Write JSON so that a kill leaves the old file or the new one, never half of one."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    new.replace(path)
