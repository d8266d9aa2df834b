"""Holds its pod until it is released: until the pod has the annotation dra-workshop/release.

The pod mounts its own annotations at /podinfo by the downward API; the kubelet refreshes that
file, so the program looks at it. It ends with 0 when it is released, and at once on SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

ANNOTATIONS = Path(os.environ.get("DRA_WORKSHOP_ANNOTATIONS", "/podinfo/annotations"))
RELEASE = "dra-workshop/release="
LOOK_SECONDS = 0.2


def released(path: Path) -> bool:
    """Whether the annotations file, one key="value" a line, holds the release."""
    return any(line.startswith(RELEASE) for line in path.read_text().splitlines())


def ended_by_signal() -> threading.Event:
    """Set when the pod is to end."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    return ended


def main() -> int:
    ended = ended_by_signal()
    print("holding", flush=True)  # noqa: T201
    while not released(ANNOTATIONS):
        if ended.wait(LOOK_SECONDS):
            return 143
    print("released", flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
