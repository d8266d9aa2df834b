"""Fills `.tools/` of this checkout and makes its stacks; a second run finds all of it done."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

import semver

from toolchain import build, cache, go
from toolchain.errors import SetupError
from toolchain.progress import say
from toolchain.tools import (
    CHART,
    CHARTS,
    CLUSTER_TOOLS,
    PLUGINS,
    PULUMI_PROGRAMS,
    PULUMI_VERSION,
    GoTool,
)

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
BIN = TOOLS / "bin"
PULUMI_HOME = TOOLS / "pulumi"
PLATFORMS = ("linux-x86_64", "linux-aarch64", "darwin-x86_64", "darwin-arm64")
UNTESTED = PLATFORMS[1:]
PLUGIN_SECONDS = 120


def install() -> None:
    """Everything that a plain `pulumi up` of an embedded stack needs.

    Raises SetupError with a remedy; what was done by then stays and is not done again.
    """
    started = time.monotonic()
    _require_platform()
    for folder in (BIN, PULUMI_HOME, ROOT / ".state"):
        folder.mkdir(parents=True, exist_ok=True)
    own_pulumi = _usable_pulumi() is None
    programs = [*CLUSTER_TOOLS, *(PULUMI_PROGRAMS if own_pulumi else ())]
    plugins = [tool for _, tool in PLUGINS.values()] if own_pulumi else []
    _build([*programs, *plugins, *CHARTS])
    changed = [
        *[_place(tool) for tool in programs],
        *[_place_chart(chart) for chart in CHARTS],
        _place_kubectl(),
        _write_env(own_pulumi),
        *[_place_plugin(plugin) for plugin in PLUGINS if own_pulumi],
        _make_stacks(),
    ]
    if any(changed):
        say(f"ready ({time.monotonic() - started:.0f} s)")


def _require_platform() -> None:
    name = f"{sys.platform}-{platform.machine()}"
    if name not in PLATFORMS:
        raise SetupError(f"platform {name} is not supported; these are: {', '.join(PLATFORMS)}")
    if name in UNTESTED and not BIN.exists():
        say(f"platform {name} builds from the same sources as linux-x86_64 but is untested")


# --- Pulumi that is already there -------------------------------------------------------------


def _usable_pulumi() -> str | None:
    """A `pulumi` on PATH that is new enough and can get its own plugins, else None.

    DRA_WORKSHOP_TOOLCHAIN=build in the environment forces None: build all. What was built once
    is used from then on, so that nobody is asked again before every command.
    """
    if os.environ.get("DRA_WORKSHOP_TOOLCHAIN") == "build" or _placed_all(PULUMI_PROGRAMS):
        return None
    elsewhere = [p for p in os.environ.get("PATH", "").split(os.pathsep) if Path(p) != BIN]
    program = shutil.which("pulumi", path=os.pathsep.join(elsewhere))
    if program is None:
        return None
    asked = subprocess.run([program, "version"], capture_output=True, text=True, check=False)
    try:
        version = semver.Version.parse(asked.stdout.strip().removeprefix("v"))
    except ValueError:
        return None
    if version < semver.Version.parse(PULUMI_VERSION):
        say(f"pulumi {version} on PATH is older than {PULUMI_VERSION}; building our own")
        return None
    for plugin, (plugin_version, _) in PLUGINS.items():
        if not _gets_plugin(program, plugin, plugin_version):
            say(f"pulumi {version} on PATH cannot get its plugin {plugin}; building our own")
            return None
    return program


def _gets_plugin(program: str, plugin: str, version: str) -> bool:
    try:
        got = subprocess.run(
            [program, "plugin", "install", "resource", plugin, version],
            env=os.environ | {"PULUMI_HOME": str(PULUMI_HOME)},
            capture_output=True,
            check=False,
            timeout=PLUGIN_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return False
    return got.returncode == 0


# --- tools from Go modules --------------------------------------------------------------------


def _build(tools: list[GoTool]) -> None:
    """Have every tool in the cache that is not yet placed in this checkout."""
    if not _missing(tools):
        return
    with build.alone():
        missing = _missing(tools)
        if not missing:  # another set-up has built them meanwhile
            return
        cache.require_room()
        compiler = go.find()
        for number, tool in enumerate(missing, 1):
            build.build(tool, compiler, f"{number} of {len(missing)}")
        cache.drop_intermediate()


def _missing(tools: list[GoTool]) -> list[GoTool]:
    return [
        tool
        for tool in tools
        if _placed().get(tool.name) != tool.digest and build.built(tool) is None
    ]


def _placed_all(tools: Sequence[GoTool]) -> bool:
    return all(_placed().get(tool.name) == tool.digest for tool in tools)


def _placed() -> dict[str, str]:
    """Tool → digest of what lies in `.tools/bin`."""
    record = TOOLS / "placed.json"
    placed: dict[str, str] = json.loads(record.read_text()) if record.exists() else {}
    return placed


def _place(tool: GoTool) -> bool:
    """Put the tool's programs into `.tools/bin`: hard links, or copies on another file system.

    No symbolic links: pulumi looks for its language host beside its own, resolved, path.
    """
    sources = {
        name: program
        for program in tool.programs
        for name in tool.aliases.get(program) or (program,)
    }
    sources |= {name: name for name in tool.files}
    if _placed().get(tool.name) == tool.digest and all((BIN / n).exists() for n in sources):
        return False
    folder = _cached(tool)
    for name, program in sources.items():
        _link(folder / program, BIN / name)
    _record(tool)
    return True


def _cached(tool: GoTool) -> Path:
    folder = build.built(tool)
    if folder is None:
        raise SetupError(
            f"{tool.name} is neither whole in .tools nor in the cache; run: make clean setup"
        )
    return folder


def _link(source: Path, target: Path) -> None:
    new = target.with_name(f".{target.name}.new")
    new.unlink(missing_ok=True)
    try:
        os.link(source, new)
    except OSError:
        shutil.copy2(source, new)
    new.replace(target)


def _record(tool: GoTool) -> None:
    new = TOOLS / "placed.json.new"
    placed = _placed() | {tool.name: tool.digest}
    new.write_text(json.dumps(placed, indent=2, sort_keys=True) + "\n")
    new.replace(TOOLS / "placed.json")


def _place_chart(chart: GoTool) -> bool:
    """One of NVIDIA's Helm charts, as it lies in the driver's Go module."""
    target = TOOLS / "charts" / f"{CHART}-{chart.version}"
    if _placed().get(chart.name) == chart.digest and target.exists():
        return False
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(_cached(chart) / CHART, target)
    _record(chart)
    return True


def _place_plugin(plugin: str) -> bool:
    """A provider for Pulumi's own plugin folder: from PATH it would be used with a warning."""
    version, tool = PLUGINS[plugin]
    placed = PULUMI_HOME / "plugins" / f"resource-{plugin}-v{version}"
    if _placed().get(tool.name) == tool.digest and placed.exists():
        return False
    program = _cached(tool) / next(iter(tool.programs))
    _pulumi("plugin", "install", "resource", plugin, version, "--reinstall", "--file", str(program))
    _record(tool)
    return True


# --- things that come as packages -------------------------------------------------------------


def _place_kubectl() -> bool:
    """kubectl, from the package that carries it."""
    link, target = BIN / "kubectl", Path(sysconfig.get_path("scripts")) / "kubectl"
    if not target.exists():
        raise SetupError(f"{target} is missing; run: make clean setup")
    if link.is_symlink() and link.readlink() == target:
        return False
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    return True


# --- the environment and the stacks -----------------------------------------------------------


def environment(own_pulumi: bool = True) -> dict[str, str]:
    """What `.tools/env` sets, besides PATH."""
    settings = {
        "PULUMI_BACKEND_URL": f"file://{ROOT / '.state'}",
        "PULUMI_HOME": str(PULUMI_HOME),
        # The stacks hold no secret.
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    if own_pulumi:
        settings["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    return settings


def _write_env(own_pulumi: bool) -> bool:
    lines = [
        "# Source this to use pulumi and kubectl on this checkout's stacks.",
        f'export PATH="{BIN}:$PATH"',
    ]
    lines += [f'export {key}="{value}"' for key, value in environment(own_pulumi).items()]
    text = "\n".join(lines) + "\n"
    path = TOOLS / "env"
    if path.exists() and path.read_text() == text:
        return False
    path.write_text(text)
    return True


def committed_stacks() -> list[str]:
    return sorted(p.name.split(".")[1] for p in ROOT.glob("Pulumi.*.yaml"))


def _make_stacks() -> bool:
    made = ROOT / ".state" / ".pulumi" / "stacks" / "dra-workshop"
    missing = [s for s in committed_stacks() if not (made / f"{s}.json").exists()]
    for stack in missing:
        _pulumi("stack", "init", stack, "--no-select", "--non-interactive")
    return bool(missing)


def _pulumi(*arguments: str) -> None:
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        ["pulumi", *arguments],
        cwd=ROOT,
        env=os.environ | environment() | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        executable=shutil.which("pulumi", path=path),
    )
    if done.returncode:
        raise SetupError(f"pulumi {' '.join(arguments)} failed: {done.stderr.strip()}")


def clean(with_cache: bool) -> None:
    """Remove what set-up made in this checkout, and with `with_cache` the shared cache too.

    Says how much room that gives back: what a hard link in the cache still holds does not count.
    """
    folders = [folder for folder in (TOOLS, ROOT / ".venv") if folder.exists()]
    if with_cache and cache.folder().exists():
        folders.append(cache.folder())
    say(f"freeing {cache.freed_by_removing(folders) / 1e9:.1f} GB")
    for folder in reversed(folders):  # this interpreter lives in the first ones
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0)
