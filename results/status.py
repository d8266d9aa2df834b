"""Statuses and what follows from several: of a module, of a stack, of a benchmark's table."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

Status = Literal["passed", "warning", "failed", "skipped"]
STATUSES: tuple[Status, ...] = get_args(Status)
Basis = Literal["real", "mocked", "simulated"]
"""What a statement rests on: machine, cluster or GPU as they are; a driver that runs over mocked
GPUs, or over mock devices of its own; simulated nodes."""
BASES: tuple[Basis, ...] = get_args(Basis)


def verdict(statuses: Iterable[str]) -> Status:
    """failed if one failed; skipped if all were; else passed (a warning does not fail)."""
    known = list(statuses)
    if "failed" in known:
        return "failed"
    if known and all(status == "skipped" for status in known):
        return "skipped"
    return "passed"


def count_bases(results: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many statements that were verified, in all these results, rest on each basis."""
    checks = [finding for result in results for finding in result["checks"]]
    found = Counter(each.get("basis") for each in checks if each["status"] != "skipped")
    return {basis: found[basis] for basis in BASES}


def merged_results(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One result for all the programs of a module, without what they measured."""
    first = {key: value for key, value in results[0].items() if key != "benchmarks"}
    if len(results) == 1:
        return first
    reasons = [result["reason"] for result in results if "reason" in result]
    raw = [place for result in results for place in result.get("raw", [])]
    merged = {
        "module": first["module"],
        "status": verdict(result["status"] for result in results),
        "checks": [finding for result in results for finding in result["checks"]],
    }
    return merged | ({"reason": reasons[0]} if reasons else {}) | ({"raw": raw} if raw else {})


def joined(earlier: dict[str, Any] | None, table: dict[str, Any]) -> dict[str, Any]:
    """A benchmark's table from two programs of a module: the rows of both, and where all are."""
    if earlier is None or "rows" not in earlier:
        return table
    both = (earlier, table)
    found = earlier | {"rows": [row for each in both for row in each.get("rows", [])]}
    if raw := [place for each in both for place in each.get("raw", [])]:
        counts = (each.get("row_count", len(each.get("rows", []))) for each in both)
        found |= {"raw": raw, "row_count": sum(counts)}
    return found


def skipped(module: str, reason: str) -> dict[str, Any]:
    """The result of a check that was not run at all."""
    return {"module": module, "status": "skipped", "reason": reason, "checks": []}
