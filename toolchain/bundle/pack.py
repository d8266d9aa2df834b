"""`make bundle`: a folder from which a machine without any network installs the lab."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import filelock

from toolchain import layout
from toolchain.bootstrap import OLDEST
from toolchain.bundle import archive, contents, installer, tools, unpacking, wheels
from toolchain.bundle.contents import Group
from toolchain.bundle.installer import MANIFEST, SUMS, Manifest
from toolchain.bundle.unpacking import PROJECT, WHEELS
from toolchain.errors import SetupError, in_words
from toolchain.progress import say, step

DIST = layout.ROOT / "dist"
ARCHIVE = "dra-workshop.tar.xz"
PRESET = 6
MEGABYTE = 1_000_000
SPARE = 100 * MEGABYTE
"""What the environment takes besides the files of its wheels: what Python compiles of them."""


@dataclass(frozen=True)
class Order:
    """What is to be packed.

    python: minor version of the other machine's Python. part: bytes that a part may have at most,
    None for one file. host_node: whether with the host node's tools, None where they are placed.
    preset: xz's, 0 (fast) to 9.
    """

    python: str
    part: int | None = None
    host_node: bool | None = None
    preset: int = PRESET

    @classmethod
    def parse(cls, python: str, part_mb: str, host: str, preset: str) -> Order:
        """From text, "" for what was not given. Raises SetupError for what cannot be used."""
        version = python or ".".join(map(str, sys.version_info[:2]))
        oldest = ".".join(map(str, OLDEST))
        if not re.fullmatch(r"3\.[1-9][0-9]?", version) or int(version[2:]) < OLDEST[1]:
            raise SetupError(f"PYTHON_VERSION={version} cannot be used; {oldest} or later, as 3.12")
        if not re.fullmatch(r"([1-9][0-9]{0,8})?", part_mb):
            raise SetupError(f"PART_MB={part_mb} cannot be used; a whole number from 1, as 60")
        if host not in ("", "0", "1"):
            raise SetupError(f"HOST={host} cannot be used; 1 with the host node's tools, 0 without")
        if not re.fullmatch(r"[0-9]?", preset):
            raise SetupError(f"PRESET={preset} cannot be used; 0 (fast) to 9 (small)")
        return cls(
            version,
            int(part_mb) * MEGABYTE if part_mb else None,
            host == "1" if host else None,
            int(preset) if preset else PRESET,
        )


def pack(order: Order, dist: Path = DIST) -> Path:
    """Make the bundle in a folder below `dist`; returns that folder.

    An earlier one of the same name is replaced when the new one is whole.
    Raises SetupError with a remedy; then nothing is left in `dist`.
    """
    started = time.monotonic()
    if sys.platform != "linux":
        raise SetupError(f"platform {sys.platform} is not supported; a bundle is packed on Linux")
    revision = contents.revision()
    chosen, host_node = tools.collect(order.host_node)
    if host_node:  # so that it is what set-up will ask for on the other machine
        refresh_host_node()
        chosen, _ = tools.collect(order.host_node)
    name = f"dra-workshop-bundle-{revision.name}-py{order.python}{'-host' * host_node}"
    report_revision(revision)
    with whole(dist / name) as folder:
        work = folder / ".work"
        wheels.fetch(
            layout.ROOT / "requirements.lock", order.python, platform.machine(), work / WHEELS
        )
        groups: dict[str, Group] = {
            **chosen,
            PROJECT: contents.project() | tools.collect_plugins(work),
            WHEELS: {"": work / WHEELS},
        }
        parts = write(groups, folder, work, order)
        manifest = Manifest(
            name=name,
            packed=revision.title,
            python=order.python,
            platform=f"{sys.platform}-{platform.machine()}",
            glibc=".".join(map(str, wheels.GLIBC)),
            archive=list(parts),
            groups={group: archive.size(files) for group, files in groups.items()},
            environment=wheels.unpacked(work / WHEELS) + SPARE,
            lock=sha256(layout.ROOT / "requirements.lock"),
            toolchain=tools.mode_for(tool[""] for tool in chosen.values()),
            host_node=host_node,
        )
        seal(folder, manifest, parts)
        shutil.rmtree(work)
    report(dist / name, manifest, time.monotonic() - started)
    return dist / name


def refresh_host_node() -> None:
    command = [sys.executable, "-m", "toolchain", "install", "--host-node"]
    if subprocess.run(command, cwd=layout.ROOT, check=False).returncode:
        raise SetupError("the host node's tools are not ready; HOST=0 packs without them")


@contextmanager
def whole(final: Path) -> Iterator[Path]:
    """A new folder to be filled, which gets its name when all in it is whole.

    What a kill left beside it, of any bundle, is removed the next time.
    """
    partial = final.with_name(f".{final.name}.partial")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(final.parent / ".lock", timeout=0):
            for stale in final.parent.glob(".*.partial"):
                shutil.rmtree(stale)
            try:
                partial.mkdir()
                yield partial
                shutil.rmtree(final, ignore_errors=True)
                partial.rename(final)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except filelock.Timeout as error:
        raise SetupError(f"another make bundle is at work in {final.parent}") from error
    except OSError as error:
        raise SetupError(in_words(error)) from error


def report_revision(revision: contents.Revision) -> None:
    """Say which files of the project are packed, where that is not plainly the commit."""
    if revision.changed:
        say(f"packing files as they are, not as committed: {', '.join(revision.changed)}")
    if revision.untracked:
        say(f"leaving out what git does not track: {', '.join(revision.untracked)}")


def write(groups: Mapping[str, Group], folder: Path, work: Path, order: Order) -> dict[str, str]:
    """The archive's parts in the folder; returns their SHA-256 by name."""
    tar = work / "all.tar"
    archive.write(groups, tar)
    total = tar.stat().st_size // MEGABYTE
    done = 0
    counting = threading.Lock()
    with step("compressing", total, "MB") as progress:

        def advance(count: int) -> None:
            nonlocal done
            with counting:
                done += count
                while progress.done < min(done // MEGABYTE, total):
                    progress.advance()

        with archive.Parts(folder, ARCHIVE, order.part) as parts:
            archive.compress(tar, parts, order.preset, advance)
    return parts.sums


def seal(folder: Path, manifest: Manifest, parts: Mapping[str, str]) -> None:
    """Put the program that installs it, what it needs to know, and all digests beside the parts."""
    program = folder / "install"
    program.write_text(installer_source(), encoding="utf-8")
    program.chmod(0o755)
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n")
    sums = {name: sha256(folder / name) for name in (program.name, MANIFEST)} | dict(parts)
    (folder / SUMS).write_text("".join(f"{sum_}  {name}\n" for name, sum_ in sums.items()))


def installer_source() -> str:
    """The program that installs it, as one file: `unpacking` in place of its import."""
    source, part = inspect.getsource(installer), inspect.getsource(unpacking)
    imported = rf"from {re.escape(unpacking.__name__)} import \([^)]*\)\n"
    before, after = re.split(imported, source)
    return before + part.partition("from __future__ import annotations\n")[2] + after


def sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def report(folder: Path, manifest: Manifest, seconds: float) -> None:
    sizes = [(folder / part).stat().st_size / MEGABYTE for part in manifest.archive]
    unpacked = sum(manifest.groups.values()) / MEGABYTE
    largest = f", the largest {max(sizes):.1f} MB" if len(sizes) > 1 else ""
    say(
        f"packed {manifest.packed} and {len(manifest.groups) - 2} tools: {unpacked:.0f} MB in "
        f"{len(sizes)} {'parts' if len(sizes) > 1 else 'file'} of {sum(sizes):.1f} MB{largest} "
        f"({seconds:.0f} s)"
    )
    say(f"SHA-256 of its {SUMS}: {sha256(folder / SUMS)}")
    say(
        f"copy all files of {os.path.relpath(folder)} to a {manifest.platform} machine with Python "
        f"{manifest.python}, and run there: python3 install"
    )
