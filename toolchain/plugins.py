"""Pulumi's provider plugins: fetched by pulumi itself, or installed from what was built."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from toolchain import layout, placed, processes, stacks
from toolchain.progress import say
from toolchain.tools import PLUGINS

FETCH_SECONDS = 120


def fetch(program: str, plugin: str) -> bool:
    """Have `program`, a pulumi, fetch a plugin by itself; returns whether it is there now."""
    version, tool = PLUGINS[plugin]
    folder = _folder(plugin)
    if placed.read_record().get(tool.name) == version and folder.exists():
        return True
    shutil.rmtree(folder, ignore_errors=True)  # one that was built
    say(f"pulumi fetches its plugin {plugin} {version}")
    try:
        done = processes.run(
            [program, "plugin", "install", "resource", plugin, version],
            env=os.environ | {"PULUMI_HOME": str(layout.PULUMI_HOME)},
            timeout=FETCH_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return False
    if done.returncode == 0:
        placed.record(tool, version)
    return done.returncode == 0


def find_unavailable(program: str) -> str | None:
    """The first plugin that `program`, a pulumi, cannot fetch by itself."""
    return next((plugin for plugin in PLUGINS if not fetch(program, plugin)), None)


def place(plugin: str) -> bool:
    """Install a plugin that was built into Pulumi's own folder; returns whether it was not there.

    From PATH it would be used with a warning.
    """
    version, tool = PLUGINS[plugin]
    if placed.are_placed([tool]) and _folder(plugin).exists():
        return False
    program = placed.require_cached(tool) / next(iter(tool.programs))
    install = ("plugin", "install", "resource", plugin, version)
    stacks.run_pulumi(*install, "--reinstall", "--file", str(program))
    placed.record(tool, tool.digest)
    return True


def read_fetched() -> dict[str, Path]:
    """Plugins that a released pulumi has fetched by itself: tool → folder in `.tools`."""
    return {
        tool.name: _folder(plugin)
        for plugin, (version, tool) in PLUGINS.items()
        if placed.read_record().get(tool.name) == version
    }


def _folder(plugin: str) -> Path:
    return layout.PULUMI_HOME / "plugins" / f"resource-{plugin}-v{PLUGINS[plugin][0]}"
