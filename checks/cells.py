"""A sweep that is measured cell by cell: each is kept as soon as it is known, and found again.

A sweep takes long, and may be killed, or stop because its time is over. What it has measured until
then lies in `.results/<stack>/cells/<sweep>/`, a file for each cell, named by the digest of all
that its figures depend on. The next update measures what is not there.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from checks.result import CheckFailed
from machine.errors import LabError
from machine.files import read_json, write_json
from results import store

Content = dict[str, Any]
GO_ON = "run make up again: it keeps what is measured, and goes on with the rest"


@dataclass(frozen=True)
class Cell:
    """name: of its file; configuration: all that its figures depend on."""

    name: str
    configuration: Mapping[str, Any]

    @property
    def digest(self) -> str:
        text = json.dumps(self.configuration, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass
class Cells:
    """The cells of a sweep. minutes: after which no further one is begun."""

    stack: str
    sweep: str
    minutes: float
    _began: float = field(default_factory=time.monotonic)

    @property
    def folder(self) -> Path:
        return store.RESULTS / self.stack / "cells" / self.sweep

    def path(self, cell: Cell) -> Path:
        return self.folder / f"{cell.name}-{cell.digest}.json"

    def kept(self, cell: Cell) -> Content | None:
        """What was measured for it, now or before; None if it was not, or the file is damaged."""
        content = read_json(self.path(cell))
        return content if content.get("digest") == cell.digest else None

    def measure(self, cells: Iterable[Cell], measure: Callable[[Cell], Content]) -> str:
        """Measure the cells that are not kept, and say what is there. CheckFailed if some are
        missing at the end; one that cannot be measured does not stop the others."""
        wanted, problems = [*cells], []
        earlier = [cell for cell in wanted if self.kept(cell) is not None]
        left = []
        for cell in wanted:
            if cell in earlier:
                continue
            if time.monotonic() - self._began > self.minutes * 60:
                left.append(cell.name)
                continue
            try:
                self._keep(cell, measure(cell))
            except LabError as error:
                problems.append(f"{cell.name}: {error.found}")
        missing = len(left) + len(problems)
        text = f"{len(wanted) - missing} of {len(wanted)} cells"
        if earlier:
            text += f", {len(earlier)} of them kept from before"
        if left:
            problems.append(f"{len(left)} left after {self.minutes:g} minutes: {', '.join(left)}")
        if problems:
            raise CheckFailed("; ".join([text, *problems]), remedy=GO_ON if left else "")
        return text

    def _keep(self, cell: Cell, content: Content) -> None:
        path = self.path(cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        known = {
            "cell": cell.name,
            "digest": cell.digest,
            "configuration": cell.configuration,
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_json(path, known | content)
