"""Files, written so that a kill or a full disk leaves the old one or the new one, never half."""

import json
import os
from pathlib import Path
from typing import Any

PRIVATE, PRIVATE_FOLDER = 0o600, 0o700
"""Modes of files and folders with keys, which are for their owner only."""


def make_private_folder(folder: Path) -> None:
    folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    folder.chmod(PRIVATE_FOLDER)  # one that was made when it was open to all


def write_text(path: Path, text: str, *, mode: int = 0o666) -> None:
    """mode: who may read the file; PRIVATE for one with keys. The umask takes its part away."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)  # of a program that was killed; it may be open to all
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in the file, {} where there is none, or half of one."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")
