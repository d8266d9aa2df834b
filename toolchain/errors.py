"""What can go wrong in set-up, in words for the person in front of it."""

from __future__ import annotations

import errno


class SetupError(Exception):
    """Set-up cannot go on; the message says what was found and what to do."""


class DownloadError(SetupError):
    """A file cannot be downloaded; `where` is its URL, or the host if that cannot be reached."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason


class WrongChecksumError(DownloadError):
    """What came is not what was published: damaged on its way, or tampered with."""


def disk_full(folder: object = None) -> str:
    """That the disk of a folder or file has no room, and what to do."""
    where = f"disk of {folder}" if folder else "disk"
    return f"the {where} is full; free some room and run the same command again"


def in_words(error: OSError) -> str:
    """What the system refused, and on which file."""
    if error.errno == errno.ENOSPC:
        return disk_full(error.filename)
    return f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
