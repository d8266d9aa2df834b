"""What goes into a bundle of the project itself: the files that git tracks."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolchain import layout
from toolchain.errors import SetupError

UNUSED = ("tests", "bench", ".ci", ".github", "requirements-dev.lock")
"""Tracked files that only those need who change the project."""
Group = Mapping[str, Path]
"""Path in the group → file, folder or link on this machine."""


@dataclass(frozen=True)
class Revision:
    """What the project's files are.

    changed: tracked files that differ from the commit. untracked: files that git neither tracks
    nor ignores, which are not packed.
    """

    version: str
    commit: str
    changed: list[str]
    untracked: list[str]

    @property
    def name(self) -> str:
        return f"{self.version}-{self.commit}{'-modified' if self.changed else ''}"

    @property
    def title(self) -> str:
        return f"commit {self.commit}" + (
            f" with {len(self.changed)} changed files" * bool(self.changed)
        )


def revision() -> Revision:
    project = tomllib.loads((layout.ROOT / "pyproject.toml").read_text())["project"]
    return Revision(
        project["version"],
        git("rev-parse", "--short=8", "HEAD")[0].strip(),
        git("diff", "HEAD", "--name-only", "-z"),
        git("ls-files", "--others", "--exclude-standard", "-z"),
    )


def project() -> dict[str, Path]:
    """The tracked files as they are in the working tree."""
    names = git("ls-files", "-z", "--", ".", *(f":!{name}" for name in UNUSED))
    files = {name: layout.ROOT / name for name in names}
    return {name: path for name, path in files.items() if path.is_symlink() or path.exists()}


def git(*arguments: str) -> list[str]:
    """What git answers, at NULs."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=layout.ROOT,
        capture_output=True,
        text=True,
        errors="surrogateescape",  # names of files
        check=False,
    )
    if done.returncode:
        raise SetupError(
            f"a bundle holds what git tracks, and {layout.ROOT} is no git checkout with a commit: "
            f"{done.stderr.strip()}"
        )
    return [name for name in done.stdout.split("\0") if name]
