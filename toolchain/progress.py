"""Lines and bars that show a person how far set-up is; to stderr, so that output can be piped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

console = Console(stderr=True, highlight=False, soft_wrap=True)
QUIET_SECONDS = 30.0
"""Where there is no terminal, a long step says how far it is this often."""


def say(message: str) -> None:
    console.print(f"set-up: {message}", markup=False)


@dataclass
class Step:
    """One long step of `total` small ones, of which `unit` is the name; `advance` counts them."""

    title: str
    total: int
    unit: str
    started: float = field(default_factory=time.monotonic)
    done: int = 0
    reported: float = field(default_factory=time.monotonic)
    bar: Progress | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def advance(self) -> None:
        self.done = min(self.done + 1, self.total)
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=self.done)
        elif time.monotonic() - self.reported >= QUIET_SECONDS:
            self.reported = time.monotonic()
            say(f"{self.title}: {self.done} of {self.total} {self.unit}, {self.seconds:.0f} s")


@contextmanager
def step(title: str, total: int, unit: str) -> Iterator[Step]:
    if not console.is_terminal:
        say(f"{title}: {total} {unit}")
        yield Step(title, total, unit)
        return
    columns = (
        TextColumn("set-up: {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        bar.add_task(title, total=total)
        yield Step(title, total, unit, bar=bar)
