"""The cache of tools: outside the checkout, shared by all checkouts of one user."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from toolchain.errors import SetupError

NEEDED_GB = 15.0
"""Room that a cold build takes at its end: 3.8 GB of sources, 9.6 GB of compiled packages and
0.6 GB of tools (measured on linux/amd64). Only the tools stay."""
WEBHOOK_NEEDED_GB = 4.0
"""The same where the webhook alone is built: with the rest it shares nearly all."""
HOST_NEEDED_GB = 5.0
"""The same for the tools of a host node: 1.3 GB, 3.1 GB, and 0.4 GB with the images."""
KIND_NEEDED_GB = 2.0
"""The same for what `make setup-kind` adds."""
KIND_NODE_NEEDED_GB = 8.0
"""The same for what goes into an image of kind's nodes, with the image and what it is packed of."""
SOURCE = "source.json"
INTERMEDIATE = ("go-build", "go-mod")


def folder() -> Path:
    """$XDG_CACHE_HOME/dra-workshop, or ~/.cache/dra-workshop."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "dra-workshop"


@contextmanager
def filled(name: str, source: Mapping[str, object]) -> Iterator[Path]:
    """A new folder of the cache to be filled, which gets its name when all in it is whole.

    A kill leaves nothing that looks finished; what it left is removed the next time.
    source: where the programs come from, which is kept beside them.
    """
    final = folder() / name
    for stale in folder().glob(f"{name}.partial-*"):
        shutil.rmtree(stale)
    partial = final.with_name(f"{name}.partial-{os.getpid()}")
    partial.mkdir()
    try:
        yield partial
        (partial / SOURCE).write_text(json.dumps(source, indent=2) + "\n")
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_room(needed: float) -> None:
    """Raise SetupError unless the cache's file system has the room that a cold build needs.

    needed: GB. What an earlier, interrupted build has put there is part of them.
    """
    folder().mkdir(parents=True, exist_ok=True)
    used = sum(freed_by_removing([folder() / name]) for name in INTERMEDIATE) / 1e9
    free = shutil.disk_usage(folder()).free / 1e9
    if free + used < needed:
        raise SetupError(
            f"building the tools takes {needed - used:.0f} GB and {folder()} has {free:.1f} GB "
            "free; free some room, or set XDG_CACHE_HOME to a folder on a larger disk"
        )


def freed_by_removing(folders: Iterable[Path]) -> int:
    """Bytes on disk that removing the folders gives back.

    A file with hard links counts once, and only if all its links are in the folders.
    """
    links: Counter[tuple[int, int]] = Counter()
    sizes: dict[tuple[int, int], tuple[int, int]] = {}
    for folder_ in folders:
        for parent, _, names in os.walk(folder_):
            for name in names:
                status = os.lstat(Path(parent) / name)
                key = (status.st_dev, status.st_ino)
                links[key] += 1
                sizes[key] = (status.st_nlink, status.st_blocks * 512)
    return sum(size for key, (count, size) in sizes.items() if links[key] >= count)


def drop_intermediate() -> None:
    """Remove what was only needed to build; a build that was cut short goes on from it."""
    for name in INTERMEDIATE:
        shutil.rmtree(folder() / name, ignore_errors=True)
