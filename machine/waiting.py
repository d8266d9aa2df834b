"""Waiting for what takes a while."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock
import psutil
import tenacity

from machine.errors import LabError

PAUSE_SECONDS = 0.1
LOCK_SECONDS = 60


def until(
    seconds: float, unless: type[Exception], pause: float = PAUSE_SECONDS
) -> tenacity.Retrying:
    """Calls a function again and again until it no longer raises `unless`.

    Raises its last error when the time is over, and any other error at once.
    """
    return tenacity.Retrying(
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_fixed(pause),
        retry=tenacity.retry_if_exception_type(unless),
        reraise=True,
    )


@contextmanager
def locked(path: Path, what: str, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the lock on that file; where another holds it, print who, and wait that long at most.

    what: is done under the lock. Raises LabError at the deadline.
    """
    lock = filelock.FileLock(path)
    try:
        held = lock.acquire(timeout=0)
    except filelock.Timeout:
        who = _holders(path)
        sys.stderr.write(f"waiting for {what} by {who}, {seconds:.0f} s at most\n")
        try:
            held = lock.acquire(timeout=seconds)
        except filelock.Timeout as error:
            raise LabError(
                f"{what} by {_holders(path)} has not ended after {seconds:.0f} s", "end it first"
            ) from error
    with held:
        yield


def _holders(path: Path) -> str:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if any(Path(file.path) == path.resolve() for file in process.open_files()):
                found.append(f"{process.name()} (process {process.pid})")
    return ", ".join(found) or "a process of another user"
