"""The result of a check program: findings about single statements, and one verdict over them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Status = Literal["passed", "warning", "failed", "skipped"]


class NotSo(Exception):
    """A statement does not hold; the text says what was found instead.

    remedy: what mends just this, where the statement's own remedy is not exact enough.
    warning: it is not as it should be, and will do.
    """

    def __init__(self, found: str, *, remedy: str = "", warning: bool = False) -> None:
        super().__init__(found)
        self.remedy = remedy
        self.warning = warning


class NotKnown(Exception):
    """Whether a statement holds cannot be told, or does not matter here; the text says why."""


@dataclass(frozen=True)
class Finding:
    """One verified statement.

    simulated: what it says is about a simulated node or device. seconds: how long it took to
    find out, waiting included. remedy: what to do when it failed, else empty.
    """

    id: str
    title: str
    status: Status
    simulated: bool
    expected: str
    found: str
    seconds: float
    remedy: str = ""


def verdict(statuses: Iterable[str]) -> Status:
    """failed if one failed; skipped if all were; else passed (a warning does not fail)."""
    known = list(statuses)
    if "failed" in known:
        return "failed"
    if known and all(status == "skipped" for status in known):
        return "skipped"
    return "passed"


@dataclass
class Checklist:
    """Verifies statements one after the other and keeps what was found."""

    module: str
    findings: list[Finding] = field(default_factory=list)
    benchmarks: dict[str, Any] = field(default_factory=dict)
    """What was measured on the way: name → table (docs/architecture.md)."""

    def verify(
        self,
        identity: str,
        title: str,
        probe: Callable[[], str],
        *,
        expected: str,
        remedy: str,
        simulated: bool = False,
        needs: Iterable[str] = (),
        failure: Status = "failed",
    ) -> bool:
        """Run `probe`, which returns what it found or raises NotSo, or NotKnown to skip the
        statement; returns whether it holds.

        needs: ids of statements of this list without which this one has no meaning.
        failure: "warning" for a statement that is good to know but stops nobody.
        """
        unmet = [need for need in needs if not self.holds(need)]
        if unmet:
            self.skip(identity, title, f"needs {unmet[0]}", simulated=simulated)
            return False
        started = time.monotonic()
        status: Status = "passed"
        try:
            found = probe()
        except NotSo as error:
            status, found = "warning" if error.warning else failure, str(error)
            remedy = error.remedy or remedy
        except NotKnown as error:
            self.skip(identity, title, str(error), simulated=simulated)
            return False
        seconds = round(time.monotonic() - started, 3)
        self.findings.append(
            Finding(
                identity,
                title,
                status,
                simulated,
                expected,
                found,
                seconds,
                "" if status == "passed" else remedy,
            )
        )
        return status == "passed"

    def skip(self, identity: str, title: str, reason: str, *, simulated: bool = False) -> None:
        self.findings.append(Finding(identity, title, "skipped", simulated, "", reason, 0.0))

    def holds(self, identity: str) -> bool:
        """Whether that statement of this list was verified, and stops nobody."""
        return any(f.id == identity and f.status in ("passed", "warning") for f in self.findings)

    def to_json(self) -> dict[str, Any]:
        result = {
            "module": self.module,
            "status": verdict(finding.status for finding in self.findings),
            "checks": [asdict(finding) for finding in self.findings],
        }
        return result | ({"benchmarks": self.benchmarks} if self.benchmarks else {})


def merged_results(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One result for all the programs of a module, without what they measured."""
    first = {key: value for key, value in results[0].items() if key != "benchmarks"}
    if len(results) == 1:
        return first
    reasons = [result["reason"] for result in results if "reason" in result]
    raw = [place for result in results for place in result.get("raw", [])]
    return (
        {
            "module": first["module"],
            "status": verdict(result["status"] for result in results),
            "checks": [finding for result in results for finding in result["checks"]],
        }
        | ({"reason": reasons[0]} if reasons else {})
        | ({"raw": raw} if raw else {})
    )


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
