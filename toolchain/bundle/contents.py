"""What goes into a bundle: the project's files, the tools that are placed, and wheels."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toolchain import install
from toolchain.bundle.installer import CACHE
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
    project = tomllib.loads((install.ROOT / "pyproject.toml").read_text())["project"]
    return Revision(
        project["version"],
        git("rev-parse", "--short=8", "HEAD")[0].strip(),
        git("diff", "HEAD", "--name-only", "-z"),
        git("ls-files", "--others", "--exclude-standard", "-z"),
    )


def project() -> dict[str, Path]:
    """The tracked files as they are in the working tree; with what pulumi fetched by itself."""
    names = git("ls-files", "-z", "--", ".", *(f":!{name}" for name in UNUSED))
    files = {name: install.ROOT / name for name in names}
    return {name: path for name, path in files.items() if path.is_symlink() or path.exists()}


def fetched(folder: Path) -> dict[str, Path]:
    """Plugins that are not in the cache, and the note that has set-up find them placed."""
    plugins = install.fetched_plugins()
    if not plugins:
        return {}
    note = folder / "placed.json"
    versions = {tool: path.name.rpartition("-v")[2] for tool, path in plugins.items()}
    note.write_text(json.dumps(versions) + "\n")
    placed = {str(path.relative_to(install.ROOT)): path for path in plugins.values()}
    return {**placed, f"{install.TOOLS.name}/placed.json": note}


def tools(host_node: bool | None) -> tuple[dict[str, Group], bool]:
    """The placed tools as groups, and whether those of the host node are among them.

    host_node: whether they are to be; None where they are placed.
    """
    entries = install.in_cache()
    of_host = sorted(set(entries) - install.plain_tools())
    if host_node and not of_host:
        raise SetupError("HOST=1: the host node's tools are not placed; run: make setup-host")
    with_host = bool(of_host) if host_node is None else host_node
    chosen = {name: path for name, path in entries.items() if with_host or name not in of_host}
    # Large programs that share most of their code come one after another.
    ordered = sorted(chosen.values(), key=lambda path: path.name)
    return {f"{CACHE}/{path.name}": {"": path} for path in ordered}, with_host


def git(*arguments: str) -> list[str]:
    """What git answers, at NULs."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=install.ROOT,
        capture_output=True,
        text=True,
        errors="surrogateescape",  # names of files
        check=False,
    )
    if done.returncode:
        raise SetupError(
            f"a bundle holds what git tracks, and {install.ROOT} is no git checkout with a commit: "
            f"{done.stderr.strip()}"
        )
    return [name for name in done.stdout.split("\0") if name]
