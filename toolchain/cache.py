"""The cache of built tools: outside the checkout, shared by all checkouts of one user."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from toolchain.errors import SetupError

NEEDED_GB = 15.0
"""Room that a cold build takes at its end: 3.8 GB of sources, 9.6 GB of compiled packages and
0.6 GB of tools (measured on linux/amd64). Only the tools stay."""
INTERMEDIATE = ("go-build", "go-mod")


def folder() -> Path:
    """$XDG_CACHE_HOME/dra-workshop, or ~/.cache/dra-workshop."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "dra-workshop"


def require_room(path: Path, gigabytes: float = NEEDED_GB) -> None:
    """Raise SetupError unless `path`'s file system has the room that a cold build needs."""
    path.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path).free / 1e9
    if free < gigabytes:
        raise SetupError(
            f"building the tools takes {gigabytes:.0f} GB and {path} has {free:.1f} GB free; "
            "free some room, or set XDG_CACHE_HOME to a folder on a larger disk"
        )


def size(path: Path) -> int:
    """Bytes on disk under `path`; a hard link that is met twice counts once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for parent, _, names in os.walk(path):
        for name in names:
            status = os.lstat(Path(parent) / name)
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_blocks * 512
    return total


def drop_intermediate() -> None:
    """Remove what was only needed to build; a build that was cut short goes on from it."""
    for name in INTERMEDIATE:
        shutil.rmtree(folder() / name, ignore_errors=True)


def clear() -> int:
    """Remove the cache; returns the bytes that it freed."""
    if not folder().exists():
        return 0
    freed = size(folder())
    shutil.rmtree(folder())
    return freed
