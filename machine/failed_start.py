"""Keeps the logs of what did not start, as all else of it is removed."""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from machine.files import make_private_folder

RESULTS = Path(".results")
KEPT = "failed-start"


def last_errors(logs: Iterable[Path], per_log: int, sign: str = "error") -> str:
    """The last errors in each log, for a person. sign: what lines of errors contain, beside those
    that begin as Kubernetes' do."""
    found = ""
    for log in logs:
        lines = log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if line.startswith(("E", "F")) or sign in line.lower()]
        found += "".join(f"\n  {log.name}: {line[:300]}" for line in errors[-per_log:])
    return found


def keep(stack: str, logs: Iterable[Path]) -> str:
    """Copy the logs to a folder where they stay until the stack fails again; returns, for a person,
    which, or "" where there are none, or no room for them."""
    folder = RESULTS / stack / KEPT
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        for log in (log for log in logs if log.stat().st_size):
            make_private_folder(folder)
            shutil.copyfile(log, folder / log.name)
    return f"\n  all logs: {folder}/" if folder.exists() else ""
