"""Programs in several pods start at the same second: the one that their annotation names.

The pod mounts its own annotations by the downward API; whoever wants them to start together
writes dra-workshop/start, seconds since 1970, into every one, some seconds ahead. The kubelet
promises no time for showing it to the pods. A program that learns of it too late begins at once
and reports `late_seconds`; the reader judges whether all worked at one time.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

START = "dra-workshop/start="
LOOK_SECONDS = 0.2


class StartError(Exception):
    """The time to start did not come, or cannot be read."""


def parse_start(annotations: str) -> float | None:
    """From the file's text, one key="value" a line; None if it is not there yet."""
    for line in annotations.splitlines():
        if line.startswith(START):
            try:
                moment = float(json.loads(line[len(START) :]))
            except (TypeError, ValueError):
                moment = math.nan
            if not math.isfinite(moment):
                raise StartError(f"{line} is not a time in seconds since 1970")
            return moment
    return None


def read_start(path: Path) -> float | None:
    try:
        return parse_start(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}") from None


def wait(path: Path, limit: float, say: Callable[[str], object] = print) -> dict[str, Any]:
    """Returns at the time that the file names, or at once if that has passed.

    limit: the most seconds to wait in all; say: tells people that the time is known.
    """
    deadline = time.time() + limit
    while (moment := read_start(path)) is None:
        if time.time() > deadline:
            raise StartError(f"no annotation {START}… in {path} within {limit:.0f} s")
        time.sleep(LOOK_SECONDS)
    if moment > deadline:
        ahead = moment - time.time()
        raise StartError(f"the start is {ahead:.0f} s ahead, the limit is {limit:.0f} s")
    say(f"to start in {max(moment - time.time(), 0.0):.1f} s")
    while (ahead := moment - time.time()) > 0:
        time.sleep(min(ahead, LOOK_SECONDS))
    begun = time.time()
    return {"requested": moment, "begun": begun, "late_seconds": begun - moment}
