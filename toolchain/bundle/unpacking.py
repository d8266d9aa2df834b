"""Unpacks the archive of a bundle; part of the program `install` (`toolchain.bundle.installer`)."""

from __future__ import annotations

import io
import os
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PROJECT, WHEELS, CACHE = "project", "wheels", "cache"
"""The groups of the archive, its top folders; each tool below `cache` is a group of its own."""
SAY_SECONDS = 5.0
CHUNK = 1 << 20


class Refused(Exception):
    """It cannot be installed; the message says what was found and what to do."""


def say(message: str) -> None:
    sys.stderr.write(f"install: {message}\n")
    sys.stderr.flush()


class Progress:
    """Says now and then how far a long step is, in megabytes."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total, self.done = title, total, 0
        self.reported = time.monotonic()

    def advance(self, count: int) -> None:
        self.done += count
        if time.monotonic() - self.reported >= SAY_SECONDS:
            self.reported = time.monotonic()
            say(f"{self.title}: {self.done / 1e6:.0f} of {self.total / 1e6:.0f} MB")


class Parts(io.RawIOBase):
    """Files, read as if they were one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.files = (path.open("rb", buffering=0) for path in paths)
        self.file = next(self.files, None)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while self.file is not None:
            if count := self.file.readinto(buffer):
                return count
            self.file.close()
            self.file = next(self.files, None)
        return 0


def extract(parts: Sequence[Path], folders: Mapping[str, Path], total: int) -> None:
    """Unpack those groups of the archive that have a folder, in one pass over its parts."""
    import lzma  # some builds of Python lack it; `require_machine` has looked

    progress = Progress("unpacking", total)
    with (
        io.BufferedReader(Parts(parts), CHUNK) as joined,
        lzma.open(joined) as content,
        tarfile.open(fileobj=content, mode="r|", bufsize=CHUNK) as archive,
    ):
        for member in archive:
            progress.advance(member.size)
            depth = 2 if member.name.startswith(f"{CACHE}/") else 1
            path = member.name.split("/", depth)
            group = "/".join(path[:depth])
            if group in folders and len(path) > depth:
                member.name = path[depth]
                if member.islnk():  # its other name is in the same group
                    member.linkname = member.linkname.removeprefix(f"{group}/")
                put(archive, member, folders[group])


def put(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Unpack one member. Raises Refused for one that would write, or lead, out of the folder.

    Python has filters of its own only from 3.11.4 on.
    """
    at = Path(os.path.realpath(folder), member.name).parent
    link = member.linkname if member.issym() else ""
    target = member.linkname if member.islnk() else member.name
    if not (
        (member.isfile() or member.isdir() or member.issym() or member.islnk())
        and leads_inside(member.name, link)
        and leads_inside(target)
        and Path(os.path.realpath(at)) == at  # no link on the way
    ):
        raise Refused(
            f"not a bundle's archive: {member.name} is no file, or leads out of its folder"
        )
    member.mode &= 0o755
    archive.extraction_filter = getattr(tarfile, "data_filter", None)
    archive.extract(member, folder)


def leads_inside(path: str, link: str = "") -> bool:
    """Whether a path of an archive, or the link that lies there, stays among what is unpacked.

    ".." may only be how a link begins: behind another link it leads nobody knows where.
    """
    to = Path(os.path.normpath(Path(path).parent / (link or Path(path).name)))
    plain = ".." not in Path(path).parts and link in ("", os.path.normpath(link))
    return plain and not to.is_absolute() and to.parts[:1] != ("..",)
