"""Keeps the results of every update, also of one that breaks off, and of a removal.

They go to `.results/<stack>/<UTC time>/results.json`; `latest` points to the newest. Their format
is published in docs/results.schema.json.
"""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from machine.files import read_json, write_json
from results.status import STATUSES

RESULTS = Path(".results")
SCHEMA_VERSION = 1
"""Of the format; a key that is removed or means something else makes a new one."""


def removed(stack: str, removal: dict[str, Any] | None = None) -> None:
    """Keep that the lab was removed, beside what was found before.

    removal: the proof that nothing is left (checks/teardown.py), if it was looked for.
    """
    path = RESULTS / stack / "latest" / "results.json"
    last = read_json(path) or {"verification": {}}
    clean = removal is None or removal["status"] == "passed"
    content = last | {
        "status": "removed" if clean else "failed",
        "reason": "" if clean else "something of the lab is left",
        "removal": removal,
    }
    if last.get("status") == "removed" and "started" in last:
        if last["removal"] is None:  # the same removal, seen to its end
            began = datetime.fromisoformat(last["started"])
            content["seconds"] = round((datetime.now(UTC) - began).total_seconds(), 1)
        write_json(path, content)
    else:
        keep(stack, content)
    if removal:
        write_json(RESULTS / stack / "removal.json", removal)


def keep(stack: str, content: dict[str, Any], since: float | None = None) -> Path:
    """Write the results of this update beside those of earlier ones; returns the file.

    since: when it began, seconds since 1970; None for just now.
    """
    now = datetime.now(UTC)
    began = now if since is None else datetime.fromtimestamp(since, UTC)
    name = now.strftime("%Y%m%dT%H%M%S.%fZ")
    folder = RESULTS / stack / name
    folder.mkdir(parents=True)
    path = folder / "results.json"
    run = {
        "schemaVersion": SCHEMA_VERSION,
        "stack": stack,
        "runId": name,
        "started": began.isoformat(timespec="seconds"),
        "seconds": round((now - began).total_seconds(), 1),
        "counts": count_checks(content["verification"]),
    }
    write_json(path, content | run)
    link = RESULTS / stack / ".latest.new"
    link.unlink(missing_ok=True)
    link.symlink_to(name)
    link.replace(RESULTS / stack / "latest")
    return path


def count_checks(verification: dict[str, Any]) -> dict[str, int]:
    """How many checks of all modules have each status."""
    found = Counter(
        finding["status"] for result in verification.values() for finding in result["checks"]
    )
    return {status: found[status] for status in STATUSES}
