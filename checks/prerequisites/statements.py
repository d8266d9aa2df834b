"""How module 0 verifies: the texts of statements in tables, by id, and what many probes do."""

import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import semver

from checks.result import CheckFailed, Checklist, require
from machine.run import Finished, ProgramError, run_program

ANSWER_SECONDS = 20


def verify(
    checklist: Checklist,
    titles: Mapping[str, str],
    remedies: Mapping[str, str],
    identity: str,
    probe: Callable[[], str],
    expected: str,
    *needs: str,
    about: str = "",
    **more: Any,
) -> None:
    """Verify the statement; needs and more: of `Checklist.verify`.

    titles and remedies: by id, a remedy for where the probe knows no better one; about: what stands
    in the remedy for {}.
    """
    remedy = remedies[identity].format(about) if about else remedies[identity]
    checklist.verify(identity, titles[identity], probe, expected, remedy, needs=needs, **more)


def refuse(names: Iterable[str], before: str, otherwise: str = "all", **more: Any) -> str:
    """What was found where there are no such names. Raises CheckFailed with those that there are,
    with the words before them, and with `more`."""
    found = ", ".join(names)
    return require(not found, f"{before}{found}" if found else otherwise, **more)


def require_free(folder: str | Path, needed: float) -> str:
    """How much is free in that file system. Raises CheckFailed if it is less; needed: GB."""
    free = shutil.disk_usage(folder).free / 1e9
    return require(free >= needed, f"{free:.1f} GB free in {folder}")


def read(path: Path) -> str:
    """What a file of the kernel holds, "" where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def output_of(*command: str) -> str | None:
    """What a program prints, None where it is not installed or fails."""
    try:
        return run_program(command, seconds=ANSWER_SECONDS).output
    except ProgramError:
        return None


def ask(program: str | Path, argument: str) -> Finished:
    """Run one of the tools with one argument. Raises LabError if it cannot be run or hangs.

    Inside a pod it would find the cluster that it runs in and start; so that is hidden from it.
    """
    apart = {key: value for key, value in os.environ.items() if not key.startswith("KUBERNETES_")}
    return run_program([str(program), argument], seconds=ANSWER_SECONDS, env=apart, check=False)


def read_version(program: str | Path, argument: str = "--version") -> semver.Version:
    """The version that the program prints. Raises CheckFailed if it prints none."""
    done = ask(program, argument)
    found = re.search(r"\d+\.\d+\.\d+", done.output + done.errors)
    if done.code or not found:
        raise CheckFailed(f"{program} {argument} ended with {done.code}")
    return semver.Version.parse(found[0])
