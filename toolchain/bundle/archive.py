"""The archive of a bundle: a tar, compressed by xz, in parts of at most a given size."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import platform
import shutil
import stat
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from toolchain.bundle.contents import Group
from toolchain.bundle.unpacking import leads_inside
from toolchain.errors import SetupError

CHUNK = 1 << 20
STREAMS = 2
"""More would be faster on more cores, but each repeats what the others have."""
DICTIONARY = 192 << 20
LARGE = 3
"""Presets from here on have DICTIONARY. Unpacking takes as much memory, packing 12 times as much a
stream."""
FILE_TIME = 315_532_800
"""1980, the oldest that zip files know: the same for all, so that the same files make the same
archive."""
LEFT_OUT = ("__pycache__",)


class Parts(io.RawIOBase):
    """Writes what it gets into files of at most `limit` bytes; `sums` are their SHA-256."""

    def __init__(self, folder: Path, name: str, limit: int | None) -> None:
        self.folder, self.name, self.limit = folder, name, limit
        self.sums: dict[str, str] = {}
        self.size = 0
        self._file: io.BufferedWriter | None = None
        self._room = 0
        self._sum = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        view = memoryview(data)
        while view:
            if self._file is None or (self.limit and not self._room):
                self._next()
            taken = view[: self._room] if self.limit else view
            assert self._file is not None  # noqa: S101
            self._file.write(taken)
            self._sum.update(taken)
            self._room -= len(taken)
            self.size += len(taken)
            view = view[len(taken) :]
        return len(data)

    def _next(self) -> None:
        self._end()
        name = f"{self.name}.{len(self.sums) + 1:03}" if self.limit else self.name
        self._file = (self.folder / name).open("xb")
        self._room = self.limit or 0
        self._sum = hashlib.sha256()
        self.sums[name] = ""

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
            self.sums[Path(self._file.name).name] = self._sum.hexdigest()
            self._file = None

    def close(self) -> None:
        self._end()
        super().close()


def filters(preset: int) -> list[dict[str, int]]:
    """xz's filters: jumps in x86 programs made alike, then a dictionary over most of the tools."""
    compress = {"id": lzma.FILTER_LZMA2, "preset": preset}
    if preset >= LARGE:
        compress["dict_size"] = DICTIONARY
    jumps = [{"id": lzma.FILTER_X86}] if platform.machine() == "x86_64" else []
    return [*jumps, compress]


def write(groups: Mapping[str, Group], tar_file: Path) -> None:
    """Put the groups, in their order, into a tar.

    Nothing of this machine goes in but names, contents and whether a file is a program.
    """
    with tarfile.open(tar_file, "w") as tar:
        for name, group in groups.items():
            links: dict[tuple[int, int], str] = {}
            for path, source in members(group):
                info = describe(name, path, source, links)
                if info.isreg():
                    with source.open("rb") as content:
                        tar.addfile(info, content)
                else:
                    tar.addfile(info)


def compress(tar_file: Path, parts: Parts, preset: int, advance: Callable[[int], None]) -> None:
    """Write the file into the parts, compressed as STREAMS streams of xz, all at once.

    Streams one after another are one xz file; each finds repetitions in itself only.
    advance: called, in any thread, with the bytes that were compressed since the last call.
    """
    length = tar_file.stat().st_size
    cuts = [length * number // STREAMS for number in range(STREAMS + 1)]
    stop = threading.Event()

    def stream(start: int, end: int) -> Path:
        target = tar_file.with_name(f"{tar_file.name}.{start}")
        packer = lzma.LZMACompressor(lzma.FORMAT_XZ, filters=filters(preset))
        with tar_file.open("rb") as content, target.open("wb") as packed:
            content.seek(start)
            while (left := end - content.tell()) and not stop.is_set():
                chunk = content.read(min(CHUNK, left))
                packed.write(packer.compress(chunk))
                advance(len(chunk))
            packed.write(packer.flush())
        return target

    with ThreadPoolExecutor(STREAMS) as pool:
        try:
            for path in list(pool.map(stream, cuts[:-1], cuts[1:])):
                with path.open("rb") as packed:
                    shutil.copyfileobj(packed, parts, CHUNK)
        finally:
            stop.set()  # the other ones, when one has failed or ctrl-c was pressed


def size(group: Group) -> int:
    """Bytes of a group's files, a file with several names once."""
    files = {
        (status.st_dev, status.st_ino): status.st_size
        for status in (path.lstat() for _, path in members(group))
        if stat.S_ISREG(status.st_mode)
    }
    return sum(files.values())


def members(group: Group) -> Iterator[tuple[str, Path]]:
    """Every file, folder and link of the group, folders before what is in them."""
    for name, top in sorted(group.items()):
        yield name, top
        if top.is_dir() and not top.is_symlink():
            for path in sorted(top.rglob("*")):
                inner = path.relative_to(top)
                if not set(inner.parts) & set(LEFT_OUT):
                    yield str(PurePosixPath(name, inner)), path


def describe(
    group: str, path: str, source: Path, links: dict[tuple[int, int], str]
) -> tarfile.TarInfo:
    """The entry of a file; `links` has the names under which this group's files went in before.

    Raises SetupError for what `install` would refuse to unpack.
    """
    status = source.lstat()
    info = tarfile.TarInfo(f"{group}/{path}" if path else group)
    info.mtime = FILE_TIME
    info.mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
    if stat.S_ISLNK(status.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(source)  # noqa: PTH115
        if not leads_inside(path, info.linkname):
            raise SetupError(f"{source} is a link to {info.linkname}, out of what is packed")
    elif stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISREG(status.st_mode):
        first = links.setdefault((status.st_dev, status.st_ino), info.name)
        if first == info.name:
            info.size = status.st_size
        else:
            info.type, info.linkname = tarfile.LNKTYPE, first
    else:
        raise SetupError(f"{source} is neither a file nor a folder nor a link")
    return info
