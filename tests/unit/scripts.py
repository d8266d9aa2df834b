"""Programs that are shell scripts, and waiting for what they do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def write_script(path: Path, body: str) -> Path:
    """A program that only needs /bin/sh; every call is noted beside it in NAME.calls."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nPATH=/usr/bin:/bin\necho "$*" >> "$0.calls"\n{body}\n')
    path.chmod(0o700)
    return path


def calls(program: Path | str) -> list[str]:
    noted = Path(f"{program}.calls")
    return noted.read_text().splitlines() if noted.exists() else []


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)
