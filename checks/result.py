"""The result of a check program: findings about single statements, and one verdict over them."""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from machine.errors import LabError
from results.status import Basis, Status, verdict


class CheckFailed(LabError):
    """A statement does not hold; the text says what was found instead.

    remedy: more exact than the statement's own; warning: it is not as it should be, and will do.
    """

    def __init__(self, found: str, *, remedy: str = "", warning: bool = False) -> None:
        super().__init__(found, remedy)
        self.warning = warning

    def __str__(self) -> str:
        return self.found  # the remedy has a field of its own in a result


class CheckSkipped(Exception):
    """Whether a statement holds cannot be said, or does not matter here; the text says why."""


def require(holds: bool, found: str, **more: Any) -> str:
    """What was found. Raises CheckFailed with it, and with `more`, unless it holds."""
    if not holds:
        raise CheckFailed(found, **more)
    return found


@dataclass(frozen=True)
class Finding:
    """One verified statement.

    basis: what it rests on; seconds: how long it took to find out, waiting included; remedy: what
    to do when it failed, else empty.
    """

    id: str
    title: str
    status: Status
    basis: Basis
    expected: str
    found: str
    seconds: float
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """simulated: what `basis` says, for who reads results of before there was one."""
        return asdict(self) | {"simulated": self.basis != "real"}


@dataclass
class Checklist:
    """Verifies statements one after the other. benchmarks: name → table (docs/results.md)."""

    module: str
    findings: list[Finding] = field(default_factory=list)
    benchmarks: dict[str, Any] = field(default_factory=dict)

    def verify(
        self,
        identity: str,
        title: str,
        probe: Callable[[], str],
        expected: str,
        remedy: str,
        *,
        basis: Basis = "real",
        needs: Iterable[str] = (),
        failure: Status = "failed",
    ) -> bool:
        """Run `probe`, which returns what it found or raises CheckFailed, or CheckSkipped to skip
        the statement; returns whether it holds.

        needs: ids of statements of this list without which this one has no meaning.
        failure: "warning" for a statement that is good to know but stops nobody.
        """
        unmet = [need for need in needs if not self.holds(need)]
        if unmet:
            self.skip(identity, title, f"needs {unmet[0]}", basis=basis)
            return False
        started = time.monotonic()
        status: Status = "passed"
        try:
            found = probe()
        except LabError as error:
            warns = isinstance(error, CheckFailed) and error.warning
            status, found = "warning" if warns else failure, error.found
            remedy = error.remedy or remedy
        except CheckSkipped as error:
            self.skip(identity, title, str(error), basis=basis)
            return False
        seconds = round(time.monotonic() - started, 3)
        remedy = "" if status == "passed" else remedy
        self.findings.append(
            Finding(identity, title, status, basis, expected, found, seconds, remedy)
        )
        return status == "passed"

    def skip(self, identity: str, title: str, reason: str, *, basis: Basis = "real") -> None:
        self.findings.append(Finding(identity, title, "skipped", basis, "", reason, 0.0))

    def holds(self, identity: str) -> bool:
        """Whether that statement of this list was verified, and stops nobody."""
        return any(f.id == identity and f.status in ("passed", "warning") for f in self.findings)

    def to_json(self) -> dict[str, Any]:
        result = {
            "module": self.module,
            "status": verdict(finding.status for finding in self.findings),
            "checks": [finding.to_json() for finding in self.findings],
        }
        return result | ({"benchmarks": self.benchmarks} if self.benchmarks else {})
