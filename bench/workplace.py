"""Where a benchmark works: a copy of the project of which nothing is left afterwards."""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from machine.processes import stop
from tests.checkout import Checkout

ENDINGS = (signal.SIGTERM, signal.SIGHUP)
SECONDS = 10


@contextmanager
def workplace() -> Iterator[Checkout]:
    """A copy in a temporary folder; its processes and files are removed, however it ends."""
    for number in ENDINGS:
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    folder = Path(tempfile.mkdtemp(prefix="dra-workshop-bench-")).resolve()
    try:
        yield Checkout.make(folder / "checkout")
    finally:
        for number in (signal.SIGINT, *ENDINGS):  # nobody interrupts the clearing up
            signal.signal(number, signal.SIG_IGN)
        end_processes(folder)
        shutil.rmtree(folder)


def end_processes(folder: Path) -> None:
    """End what runs in the folder, or is a program of it; and what those start meanwhile."""
    while found := [one for one in psutil.process_iter() if _belongs_to(folder, one)]:
        stop(found, SECONDS)


def _belongs_to(folder: Path, process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        places = map(Path, (process.cwd(), *process.cmdline()[:1]))
        return process.pid != os.getpid() and any(p.is_relative_to(folder) for p in places)
    return False
