"""Copies of a stack's kubeconfig in the temporary folder.

Pulumi's provider for Kubernetes (4.29.0) writes one, with credentials, for Helm whenever it starts,
and removes none.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from machine import kind_places
from machine.cluster_state import RUN

NAMES = "kubeconfig*"


def copies(stack: str) -> list[Path]:
    """Those of this user that name the stack's folder, or its cluster of kind."""
    folder = f"{(RUN / stack).absolute()}{os.sep}"
    context = f"name: kind-{kind_places.cluster(stack)}\n"
    found = []
    for path in sorted(Path(tempfile.gettempdir()).glob(NAMES)):
        with suppress(OSError):  # of a folder, or of one that has gone meanwhile
            if not path.is_symlink() and path.stat().st_uid == os.getuid():
                text = path.read_text(encoding="utf-8", errors="replace")
                if folder in text or context in text:
                    found.append(path)
    return found


def remove(stack: str) -> None:
    """Remove them. No update of the stack may go on: its Helm releases would fail."""
    for path in copies(stack):
        path.unlink(missing_ok=True)
