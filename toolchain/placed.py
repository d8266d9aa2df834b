"""Puts tools into `.tools` of this checkout, and keeps a record of what lies there."""

from __future__ import annotations

import json
import os
import shutil
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from toolchain import build, layout
from toolchain.errors import SetupError
from toolchain.tools import GoTool, Tool

AnyTool = TypeVar("AnyTool", bound=Tool)


def read_record() -> dict[str, str]:
    """Tool → digest of what lies in `.tools`, what is on PATH, or a plugin's version."""
    path = layout.TOOLS / "placed.json"
    record: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return record


def record(tool: Tool, what: str) -> None:
    """Note what was placed; a tool that it replaces is no longer noted."""
    new = layout.TOOLS / "placed.json.new"
    placed = {name: was for name, was in read_record().items() if name not in tool.places}
    placed[tool.name] = what
    new.write_text(json.dumps(placed, indent=2, sort_keys=True) + "\n")
    new.replace(layout.TOOLS / "placed.json")


def are_placed(tools: Sequence[Tool]) -> bool:
    return all(read_record().get(tool.name) == tool.digest for tool in tools)


def find_missing(tools: Sequence[AnyTool]) -> list[AnyTool]:
    """Those that are neither placed in this checkout nor in the cache."""
    return [tool for tool in tools if not are_placed([tool]) and build.built(tool) is None]


def require_cached(tool: Tool) -> Path:
    """The tool's folder of the cache."""
    folder = build.built(tool)
    if folder is None:
        raise SetupError(
            f"{tool.name} is neither whole in .tools nor in the cache; run: make clean setup"
        )
    return folder


def place(tool: Tool) -> bool:
    """Put the tool's files into its folder of `.tools`: hard links, or copies on another file
    system. Returns whether they were not there yet, as the other functions here do.

    No symbolic links: pulumi looks for its language host beside its own, resolved, path.
    """
    target = layout.TOOLS / tool.into
    if are_placed([tool]) and all((target / name).exists() for name in tool.places):
        return False
    target.mkdir(exist_ok=True)
    folder = require_cached(tool)
    for name, program in tool.places.items():
        link(folder / program, target / name)
    record(tool, tool.digest)
    return True


def link(source: Path, target: Path) -> None:
    """A hard link to a file, or a copy on another file system, in place of what is there."""
    new = target.with_name(f".{target.name}.new")
    new.unlink(missing_ok=True)
    try:
        os.link(source, new)
    except OSError:
        shutil.copy2(source, new)
    new.replace(target)


def place_chart(chart: GoTool) -> bool:
    """The Helm chart of a driver, as it lies in the driver's Go module."""
    (name,) = chart.files
    target = layout.TOOLS / "charts" / f"{name}-{chart.version}"
    if are_placed([chart]) and target.exists():
        return False
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(require_cached(chart) / name, target)
    record(chart, chart.digest)
    return True


def place_kubectl() -> bool:
    """kubectl, from the Python package that carries it."""
    placed, program = layout.BIN / "kubectl", Path(sysconfig.get_path("scripts")) / "kubectl"
    if not program.exists():
        raise SetupError(f"{program} is missing; run: make clean setup")
    if placed.is_symlink() and placed.readlink() == program:
        return False
    placed.unlink(missing_ok=True)
    placed.symlink_to(program)
    return True
