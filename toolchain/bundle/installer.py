#!/usr/bin/env python3
"""Install dra-workshop from the files beside this one: no network, no root, nothing but Python.

Checks every file first and changes nothing if one is missing or damaged. Run it again after it
was interrupted: it goes on from there, and does nothing where all is done.
"""

# The file `install` of every bundle. It runs where nothing of the project is, so
# `toolchain.bundle.pack` puts `unpacking` in place of its import, and neither may import more.

from __future__ import annotations

import argparse
import errno
import fcntl
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from toolchain.bundle.unpacking import (
    CACHE,
    CHUNK,
    PROJECT,
    WHEELS,
    Progress,
    Refused,
    extract,
    say,
)

SUMS = "SHA256SUMS"
MANIFEST = "bundle.json"
MARK = ".bundle.json"
"""In the installed folder: the manifest of the bundle that it comes from."""


@dataclass(frozen=True)
class Manifest:
    """What a bundle is; `bundle.json`.

    python: minor version, as "3.12". platform: as "linux-x86_64".
    glibc: the oldest that its wheels run on. archive: its parts, in order.
    groups: bytes of each group when it is unpacked.
    environment: bytes that the Python environment takes.
    lock: SHA-256 of the lock file that the wheels are of.
    toolchain: the mode in which set-up places what was packed. host_node: whether its tools are in.
    """

    name: str
    packed: str
    python: str
    platform: str
    glibc: str
    archive: list[str]
    groups: dict[str, int]
    environment: int
    lock: str
    toolchain: str
    host_node: bool


# --- before anything is changed ---------------------------------------------------------------


def verify(here: Path) -> Manifest:
    """What the bundle is, when all its files are whole; Refused names every one that is not."""
    sums = listed(here)
    files = {name: here / name for name in sums}
    problems = [f"{name} is missing" for name, path in files.items() if not path.is_file()]
    present = {name: path for name, path in files.items() if path.is_file()}
    progress = Progress("checking", sum(path.stat().st_size for path in present.values()))
    for name, path in present.items():
        if digest(path, progress) != sums[name]:
            problems.append(f"{name} is damaged or not whole ({path.stat().st_size} bytes)")
    if problems:
        raise Refused("\n  ".join([*problems, f"copy what is named again into {here}"]))
    say(f"{len(sums)} files are as {SUMS} says")
    return Manifest(**json.loads((here / MANIFEST).read_text(encoding="utf-8")))


def listed(here: Path) -> dict[str, str]:
    """File → its SHA-256."""
    path = here / SUMS
    if not path.is_file():
        raise Refused(f"{SUMS} is missing; copy it into {here}")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    matches = [re.fullmatch(r"([0-9a-f]{64})  ([\w.-]+)", line) for line in lines]
    sums = {match[2]: match[1] for match in matches if match}
    if len(sums) < len(lines) or MANIFEST not in sums:
        raise Refused(f"{SUMS} is damaged; copy it again into {here}")
    return sums


def digest(path: Path, progress: Progress) -> str:
    total = hashlib.sha256()
    with path.open("rb") as content:
        while chunk := content.read(CHUNK):
            total.update(chunk)
            progress.advance(len(chunk))
    return total.hexdigest()


def require_machine(manifest: Manifest) -> None:
    """Raise Refused unless what was packed runs on this machine and Python."""
    here = f"{sys.platform}-{platform.machine()}"
    if here != manifest.platform:
        raise Refused(f"this bundle is for {manifest.platform}, and this machine is {here}")
    python = ".".join(map(str, sys.version_info[:2]))
    if python != manifest.python:
        raise Refused(
            f"this bundle is for Python {manifest.python}, and this is {python}: run it with "
            f"python{manifest.python}, or pack one with make bundle PYTHON_VERSION={python}"
        )
    libc, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "none").partition(" ")
    if libc != "glibc" or numbers(version) < numbers(manifest.glibc):
        raise Refused(
            f"glibc {manifest.glibc} or later is needed, and this machine has {libc} {version}"
        )
    for module in ("lzma", "venv", "zlib"):
        try:
            __import__(module)
        except ImportError as error:
            raise Refused(f"this Python lacks its module {module}; install it whole") from error


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def require_room(groups: Sequence[str], manifest: Manifest, into: Path, cache: Path) -> None:
    """Raise Refused unless every disk has room for what is to be unpacked there."""
    tools = sum(manifest.groups[group] for group in groups if group.startswith(CACHE))
    rest = sum(manifest.groups[group] for group in groups) - tools
    needed = [(into, rest + (manifest.environment if WHEELS in groups else 0)), (cache, tools)]
    disks = [existing(folder).stat().st_dev for folder, _ in needed]
    if disks[0] == disks[1]:
        needed = [(into, needed[0][1] + tools)]
    else:  # no hard links from one to the other
        needed[0] = (into, needed[0][1] + tools)
    for folder, size in needed:
        free = shutil.disk_usage(existing(folder)).free
        if free < size:
            raise Refused(
                f"{size / 1e6:.0f} MB are needed for {folder}, and its disk has "
                f"{free / 1e6:.0f} MB free; free some room, or choose another disk with "
                "--into (or XDG_CACHE_HOME for the tools)"
            )


def existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def require_own(into: Path, name: str) -> None:
    """Raise Refused if the folder holds anything but what this bundle has put there."""
    if not into.exists() or (into.is_dir() and not any(into.iterdir())):
        return
    mark = into / MARK
    found = json.loads(mark.read_text(encoding="utf-8"))["name"] if mark.is_file() else ""
    if found != name:
        what = f"the bundle {found}" if found else "something else"
        raise Refused(f"{into} holds {what}; choose another folder: install --into FOLDER")


# --- unpacking --------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where set-up looks for tools: $XDG_CACHE_HOME/dra-workshop, or ~/.cache/dra-workshop."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dra-workshop"


@contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Only one set-up or installation of a user fills the cache; the lock is that of set-up."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "build.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is at work; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def missing(manifest: Manifest, into: Path, cache: Path) -> list[str]:
    """The groups that are not in their places yet."""
    there = {f"{CACHE}/{path.name}" for path in cache.glob("*")}
    if (into / MARK).exists():
        there.add(PROJECT)
    if environment_is_made(into, manifest) or (into / ".tools" / WHEELS).exists():
        there.add(WHEELS)
    return [group for group in manifest.groups if group not in there]


def environment_is_made(into: Path, manifest: Manifest) -> bool:
    """As `toolchain/bootstrap.py` sees it."""
    stamp = into / ".venv" / ".lock-digest"
    made = stamp.read_text(encoding="utf-8").split() if stamp.exists() else []
    return manifest.lock in made and (into / ".venv" / "bin" / "python").exists()


def unpack(here: Path, manifest: Manifest, groups: Sequence[str], into: Path, cache: Path) -> None:
    """Have the groups in their places, each under its name only when it is whole."""
    staging = into.with_name(f".{into.name}.partial")
    for stale in (staging, *cache.glob("*.partial-*")):  # of a run that was killed
        shutil.rmtree(stale, ignore_errors=True)
    folders = {group: staging / group for group in groups if not group.startswith(CACHE)}
    for group in set(groups) - set(folders):
        folders[group] = cache / f"{Path(group).name}.partial-{os.getpid()}"
    try:
        for folder in folders.values():
            folder.mkdir(parents=True)
        extract([here / name for name in manifest.archive], folders, sum(manifest.groups.values()))
        for group in set(groups) - {PROJECT, WHEELS}:
            folders[group].rename(cache / Path(group).name)
        if PROJECT in folders:
            shutil.copyfile(here / MANIFEST, folders[PROJECT] / MARK)
            folders[PROJECT].rename(into)
        if WHEELS in folders:
            (into / ".tools").mkdir(exist_ok=True)
            folders[WHEELS].rename(into / ".tools" / WHEELS)
    finally:
        for folder in (staging, *folders.values()):
            shutil.rmtree(folder, ignore_errors=True)


# --- set-up -----------------------------------------------------------------------------------


def set_up(into: Path, manifest: Manifest) -> None:
    """Run the project's own set-up, which finds all that it needs."""
    wheels = into / ".tools" / WHEELS
    offline = [f"--wheels={wheels}"] if wheels.exists() else []
    commands = [[sys.executable, "toolchain/bootstrap.py", *offline]]
    if manifest.host_node:
        commands.append([".venv/bin/python", "-m", "toolchain", "install", "--host-node"])
    for command in commands:
        environment = os.environ | {
            "DRA_WORKSHOP_TOOLCHAIN": manifest.toolchain,
            "PYTHONUTF8": "1",
        }
        done = subprocess.run(command, cwd=into, env=environment, check=False)
        if done.returncode:
            raise Refused("set-up failed; fix what it says and run the same command again")
    shutil.rmtree(wheels, ignore_errors=True)


def next_command(into: Path, manifest: Manifest) -> str:
    setting = "node=host" if manifest.host_node else ""
    if shutil.which("make"):
        up = ["make", "up", *([f"SET={setting}"] if setting else [])]
    else:
        up = [".venv/bin/python", "-X", "utf8", "-m", "operations", "up", "--stack", "dev"]
        up += ["--set", setting] if setting else []
    return f"cd {shlex.quote(str(into))} && {shlex.join(up)}"


def install(here: Path, into: Path) -> None:
    """Raises Refused, or OSError from the system."""
    started = time.monotonic()
    manifest = verify(here)
    require_machine(manifest)
    require_own(into, manifest.name)
    cache = cache_folder()
    require_room(missing(manifest, into, cache), manifest, into, cache)
    into.parent.mkdir(parents=True, exist_ok=True)
    with alone(cache):
        groups = missing(manifest, into, cache)  # another one may have been at work
        if groups:
            size = sum(manifest.groups[group] for group in groups)
            say(f"unpacking {size / 1e6:.0f} MB into {into} and {cache}")
            unpack(here, manifest, groups, into, cache)
    set_up(into, manifest)
    say(f"done in {time.monotonic() - started:.0f} s ({manifest.packed}); next:")
    sys.stdout.write(f"{next_command(into, manifest)}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="install", description=__doc__)
    parser.add_argument(
        "--into", type=Path, default=Path("dra-workshop"), metavar="FOLDER",
        help="a new folder for the lab; it cannot be moved later (default: ./dra-workshop)",
    )  # fmt: skip
    options = parser.parse_args()
    try:
        install(Path(__file__).resolve().parent, Path(os.path.abspath(options.into)))  # noqa: PTH100
    except Refused as refusal:
        sys.exit(f"install: {refusal}")
    except OSError as error:
        reason = f"{error.strerror or error}: {error.filename or 'writing'}"
        full = "; free some room and run the same command again" * (error.errno == errno.ENOSPC)
        sys.exit(f"install: {reason}{full}")
    except KeyboardInterrupt:
        sys.exit("install: interrupted; run the same command again to go on")


if __name__ == "__main__":
    main()
