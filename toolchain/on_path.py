"""Tools that the user has on PATH already."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import semver

from toolchain import layout, placed, plugins, processes
from toolchain.progress import say
from toolchain.tools import PULUMI_PROGRAMS, PULUMI_RELEASE, PULUMI_VERSION, Release

MARK = "on PATH"
"""How the record of a tool begins that was taken from PATH."""
VERSION_SECONDS = 10


def serves(release: Release) -> bool:
    """Whether the user's own programs serve instead of the release."""
    if release is PULUMI_RELEASE:
        return find_pulumi() is not None
    return link_programs(release)


def link_programs(release: Release) -> bool:
    """Place links to the programs on PATH, if all are there in a version that will do.

    They are asked for their versions once, and again when one of them has changed.
    """
    if layout.TOOLS / release.into != layout.BIN:
        return False
    recorded = placed.read_record().get(release.name, MARK)
    found = {name: _find_elsewhere(name) for name in release.places}
    programs = [program for program in found.values() if program is not None]
    if not recorded.startswith(MARK) or len(programs) < len(found):
        return False
    state = [(program, Path(program).stat().st_mtime_ns) for program in programs]
    linked = f"{MARK}: {hashlib.sha256(repr((release.digest, state)).encode()).hexdigest()}"
    if recorded == linked and all((layout.BIN / name).exists() for name in found):
        return True
    versions = [_read_version(program) for program in programs]
    if not all(version and _is_accepted(version, release) for version in versions):
        return False
    for name, program in zip(found, programs, strict=True):
        (layout.BIN / name).unlink(missing_ok=True)
        (layout.BIN / name).symlink_to(program)
    placed.record(release, linked)
    say(f"taking {', '.join(found)} {release.on_path or versions[0]} from PATH")
    return True


def find_pulumi() -> str | None:
    """A `pulumi` on PATH that is new enough and can fetch its own plugins, else None."""
    if placed.are_placed(PULUMI_PROGRAMS) or placed.are_placed([PULUMI_RELEASE]):
        return None
    program = _find_elsewhere("pulumi")
    if program is None:
        return None
    try:
        printed = processes.run([program, "version"]).stdout
        version = semver.Version.parse(printed.strip().removeprefix("v"))
    except ValueError:
        return None
    if version < semver.Version.parse(PULUMI_VERSION):
        say(f"pulumi {version} on PATH is older than {PULUMI_VERSION}; taking our own")
        return None
    if plugin := plugins.find_unavailable(program):
        say(f"pulumi {version} on PATH cannot get its plugin {plugin}; taking our own")
        return None
    return program


def _find_elsewhere(program: str) -> str | None:
    """Where PATH has a program, absolute, not counting what set-up itself has placed."""
    folders = [Path(p).absolute() for p in os.environ.get("PATH", "").split(os.pathsep) if p]
    elsewhere = [str(folder) for folder in folders if folder.resolve() != layout.BIN.resolve()]
    return shutil.which(program, path=os.pathsep.join(elsewhere))


def _is_accepted(version: str, release: Release) -> bool:
    """Whether programs of a version may be used instead of the release."""
    if release.oldest and semver.Version.is_valid(version):
        return semver.Version.parse(version) >= release.oldest
    return f"{version}.".startswith(f"{release.on_path or release.version}.")


def _read_version(program: str) -> str | None:
    """The version that `--version` prints, None where it prints none."""
    # Inside a pod some would find the cluster that they run in and start; so it is hidden.
    hidden = {key: value for key, value in os.environ.items() if not key.startswith("KUBERNETES_")}
    try:
        done = processes.run([program, "--version"], env=hidden, timeout=VERSION_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\d+\.\d+\.\d+(-[\w.]+)?", done.stdout)
    return found[0] if found else None
