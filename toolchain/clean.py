"""`make clean`."""

from __future__ import annotations

import shutil
import sys

from toolchain import cache, layout
from toolchain.progress import say


def clean(with_cache: bool) -> None:
    """Remove what set-up made in this checkout, and with `with_cache` the shared cache too.

    Says how much room that frees: what a hard link in the cache still holds does not count.
    """
    folders = [folder for folder in (layout.TOOLS, layout.ROOT / ".venv") if folder.exists()]
    if with_cache and cache.folder().exists():
        folders.append(cache.folder())
    say(f"freeing {cache.freed_by_removing(folders) / 1e9:.1f} GB")
    for folder in reversed(folders):  # this interpreter lives in the first ones
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0)
