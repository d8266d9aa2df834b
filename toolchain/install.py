"""Fills `.tools/` of this checkout and makes its stacks; a second run finds all of it done.

A tool is taken from PATH, else as its project releases it, else it is built; DRA_WORKSHOP_TOOLCHAIN
in the environment (`make TOOLCHAIN=…`) forces one of the latter two. What was placed once is used
from then on, so that nobody is asked again before every command.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import semver

from toolchain import build, cache, go, proxies
from toolchain.errors import DownloadError, SetupError, WrongChecksumError
from toolchain.images import IMAGES, KIND_IMAGES, Image
from toolchain.progress import say
from toolchain.tools import (
    CHARTS,
    HOST_BUILT,
    HOST_RELEASES,
    HOST_TOOLS,
    KIND_BUILT,
    KIND_CHARTS,
    KIND_RELEASES,
    KIND_TOOLS,
    PLUGINS,
    PULUMI_PLUGINS,
    PULUMI_PROGRAMS,
    PULUMI_RELEASE,
    PULUMI_VERSION,
    RELEASES,
    GoTool,
    Release,
    Tool,
)

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
BIN = TOOLS / "bin"
PULUMI_HOME = TOOLS / "pulumi"
PLATFORMS = ("linux-x86_64", "linux-aarch64", "darwin-x86_64", "darwin-arm64")
UNTESTED = PLATFORMS[1:]
PLUGIN_SECONDS = 120
VERSION_SECONDS = 10
AUTO, DOWNLOAD, BUILD = MODES = ("auto", "download", "build")
PROBE_SECONDS = {AUTO: 3.0, DOWNLOAD: 30.0}
"""How long the servers of releases have to tell their checksums before all is built, or fails."""
REMEDY = "check the network, or let set-up build what it cannot download: make setup TOOLCHAIN=auto"
ON_PATH = "on PATH"

AnyTool = TypeVar("AnyTool", bound=Tool)


def install(host_node: bool = False, kind: bool = False) -> None:
    """Everything that a plain `pulumi up` of an embedded stack needs.

    host_node: also what makes this machine a node of a cluster, tools and images.
    kind: also what a cluster of kind needs, but for Docker and the image of its nodes.
    Raises SetupError with a remedy; what was done by then stays and is not done again.
    """
    started = time.monotonic()
    mode = _mode()
    _require_platform()
    if host_node:
        _require_linux("a host node")
    if kind:
        _require_linux("set-up for kind")
    releases = [
        *(*RELEASES, *(HOST_RELEASES if host_node else ())),
        *(KIND_RELEASES if kind else ()),
    ]
    images = [*IMAGES * host_node]
    images += [image for image in KIND_IMAGES * kind if image not in images]
    charts = [*CHARTS, *KIND_CHARTS * kind]
    for folder in (BIN, PULUMI_HOME, ROOT / ".state"):
        folder.mkdir(parents=True, exist_ok=True)
    (ROOT / ".state").chmod(0o700)  # what a lab is made of is its owner's
    wanted = [release for release in releases if not (mode == AUTO and _on_path(release))]
    released, changed = _place_released(wanted, mode)
    built = [tool for release in wanted if release not in released for tool in release.instead_of]
    built += [*HOST_BUILT * host_node, *KIND_BUILT * kind]
    _build([*built, *charts], images)
    plugins = [plugin for plugin, (_, tool) in PLUGINS.items() if tool in built]
    changed += [
        *[_place(tool) for tool in (*built, *images) if tool not in PULUMI_PLUGINS],
        *[_place_chart(chart) for chart in charts],
        _place_kubectl(),
        _write_env(own_plugins=bool(plugins)),
        *[_place_plugin(plugin) for plugin in plugins],
        _make_stacks(),
    ]
    if any(changed):
        say(f"ready ({time.monotonic() - started:.0f} s)")


def _mode() -> str:
    """How tools are to be had, one of MODES."""
    mode = os.environ.get("DRA_WORKSHOP_TOOLCHAIN") or AUTO
    if mode not in MODES:
        raise SetupError(f"TOOLCHAIN={mode} is not known; these are: {', '.join(MODES)}")
    return mode


def _require_platform() -> None:
    name = f"{sys.platform}-{platform.machine()}"
    if name not in PLATFORMS:
        raise SetupError(f"platform {name} is not supported; these are: {', '.join(PLATFORMS)}")
    if name in UNTESTED and not BIN.exists():
        say(f"platform {name} builds from the same sources as linux-x86_64 but is untested")


def _require_linux(what: str) -> None:
    if sys.platform != "linux":
        raise SetupError(
            f"{what} needs Linux, and this is {sys.platform}; `make setup` has all that the "
            "embedded cluster needs"
        )


# --- tools that are already there -------------------------------------------------------------


def _on_path(release: Release) -> bool:
    """Whether the user's own programs serve instead of the release."""
    if release is PULUMI_RELEASE:
        return _usable_pulumi() is not None
    return _linked(release)


def _linked(release: Release) -> bool:
    """Have links to the programs on PATH, if all are there in a version that will do.

    They are asked for their versions once, and again when one of them has changed.
    """
    if TOOLS / release.into != BIN:
        return False
    placed = _placed().get(release.name, ON_PATH)
    found = {name: _elsewhere(name) for name in release.places}
    programs = [program for program in found.values() if program is not None]
    if not placed.startswith(ON_PATH) or len(programs) < len(found):
        return False
    state = [(program, Path(program).stat().st_mtime_ns) for program in programs]
    linked = f"{ON_PATH}: {hashlib.sha256(repr((release.digest, state)).encode()).hexdigest()}"
    if placed == linked and all((BIN / name).exists() for name in found):
        return True
    versions = [_version(program) for program in programs]
    if not all(version and _serves(version, release) for version in versions):
        return False
    for name, program in zip(found, programs, strict=True):
        (BIN / name).unlink(missing_ok=True)
        (BIN / name).symlink_to(program)
    _record(release, linked)
    say(f"taking {', '.join(found)} {release.on_path or versions[0]} from PATH")
    return True


def _elsewhere(program: str) -> str | None:
    """Where PATH has a program, absolute, not counting what set-up itself has placed."""
    folders = [Path(p).absolute() for p in os.environ.get("PATH", "").split(os.pathsep) if p]
    elsewhere = [str(folder) for folder in folders if folder.resolve() != BIN.resolve()]
    return shutil.which(program, path=os.pathsep.join(elsewhere))


def _serves(version: str, release: Release) -> bool:
    """Whether programs of a version may be used instead of the release."""
    if release.oldest and semver.Version.is_valid(version):
        return semver.Version.parse(version) >= release.oldest
    return f"{version}.".startswith(f"{release.on_path or release.version}.")


def _version(program: str) -> str | None:
    """The version that `--version` tells, None where it tells none."""
    # Inside a pod some would find the cluster that they run in and start; so it is hidden.
    apart = {key: value for key, value in os.environ.items() if not key.startswith("KUBERNETES_")}
    try:
        asked = subprocess.run(
            [program, "--version"],
            env=apart,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=VERSION_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    told = re.search(r"\d+\.\d+\.\d+(-[\w.]+)?", asked.stdout)
    return told[0] if told else None


def _usable_pulumi() -> str | None:
    """A `pulumi` on PATH that is new enough and can get its own plugins, else None."""
    if _placed_all(PULUMI_PROGRAMS) or _placed_all([PULUMI_RELEASE]):
        return None
    program = _elsewhere("pulumi")
    if program is None:
        return None
    asked = subprocess.run(
        [program, "version"], capture_output=True, text=True, errors="replace", check=False
    )
    try:
        version = semver.Version.parse(asked.stdout.strip().removeprefix("v"))
    except ValueError:
        return None
    if version < semver.Version.parse(PULUMI_VERSION):
        say(f"pulumi {version} on PATH is older than {PULUMI_VERSION}; taking our own")
        return None
    for plugin in PLUGINS:
        if not _gets_plugin(program, plugin):
            say(f"pulumi {version} on PATH cannot get its plugin {plugin}; taking our own")
            return None
    return program


def _gets_plugin(program: str, plugin: str) -> bool:
    """Have a provider that `program` fetches by itself, for Pulumi's own plugin folder."""
    version, tool = PLUGINS[plugin]
    placed = PULUMI_HOME / "plugins" / f"resource-{plugin}-v{version}"
    if _placed().get(tool.name) == version and placed.exists():
        return True
    shutil.rmtree(placed, ignore_errors=True)  # one that was built
    say(f"pulumi fetches its plugin {plugin} {version}")
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
    if got.returncode == 0:
        _record(tool, version)
    return got.returncode == 0


# --- tools as their projects release them -----------------------------------------------------


def _place_released(wanted: Sequence[Release], mode: str) -> tuple[list[Release], list[bool]]:
    """Those of `wanted` that are had as released, and for each whether it was placed only now."""
    released = _released(wanted, mode)
    changed = [_place(release) for release in released]
    if PULUMI_RELEASE in released:
        pulumi = str(BIN / "pulumi")
        lacking = next((p for p in PLUGINS if not _gets_plugin(pulumi, p)), None)
        if lacking and mode == DOWNLOAD:
            raise SetupError(f"pulumi cannot get its plugin {lacking}; {REMEDY}")
        if lacking:
            say(f"pulumi cannot get its plugin {lacking}; building our own")
            released.remove(PULUMI_RELEASE)
    return released, changed


def _released(wanted: Sequence[Release], mode: str) -> list[Release]:
    """Those of `wanted` that are, now, placed or in the cache as released.

    In `auto`, what has been built is not downloaded, and what cannot be downloaded is left out.
    Raises SetupError in `download` if there is such.
    """
    if mode == BUILD:
        return []
    if mode == AUTO:
        wanted = [r for r in wanted if r.published and (_placed_all([r]) or _missing(r.instead_of))]
    unpublished = [release.title for release in wanted if not release.published]
    if unpublished:
        raise SetupError(
            f"{', '.join(unpublished)}: not released for {sys.platform}, so it must be built: "
            "make setup TOOLCHAIN=auto"
        )
    failures = _download(_missing(wanted), PROBE_SECONDS[mode])
    if failures and mode == DOWNLOAD:
        raise SetupError("\n  ".join([*map(str, failures.values()), REMEDY]))
    failed = [release for release in wanted if release.name in failures]
    if failed:
        _tell(failed, failures.values())
    return [release for release in wanted if release not in failed]


def _download(releases: Sequence[Release], seconds: float) -> dict[str, DownloadError]:
    """Have the releases in the cache; returns, by name, why one cannot be had."""
    if not releases:
        return {}
    from toolchain import download  # a tenth of a second that other set-ups need not wait

    with build.alone():  # another set-up may have downloaded them meanwhile
        return download.get(_missing(releases), seconds)


def _tell(failed: Sequence[Release], errors: Iterable[DownloadError]) -> None:
    """Say what is built instead and why; a wrong checksum in a line of its own."""
    where: Mapping[str, set[str]] = defaultdict(set)
    for error in errors:
        if isinstance(error, WrongChecksumError):
            say(f"WARNING: {error}")
        else:
            where[error.reason].add(error.where)
    reasons = [f"{', '.join(sorted(where[reason]))}: {reason}" for reason in sorted(where)]
    why = f" ({'; '.join(reasons)})" if reasons else ""
    say(f"building instead of downloading {', '.join(r.title for r in failed)}{why}")


# --- tools from Go modules --------------------------------------------------------------------


def _build(tools: Sequence[GoTool], images: Sequence[Image] = ()) -> None:
    """Have every tool and image in the cache that is not yet placed in this checkout."""
    if not _unbuilt(tools, images) and not _missing(images):
        return
    with build.alone():
        unbuilt = _unbuilt(tools, images)  # another set-up may have built some meanwhile
        if unbuilt:
            _compile(unbuilt)
        for image in _missing(images):
            from toolchain import assemble  # a fifth of a second that other set-ups need not wait

            assemble.assemble(image)


def have(unbuilt: Callable[[], Sequence[GoTool]], needed: float) -> None:
    """Have tools in the cache that no checkout places, because they only go into an image.

    unbuilt: tells those that must be built. needed: GB that building them takes.
    """
    if unbuilt():
        with build.alone():
            if tools := unbuilt():  # another set-up may have built some meanwhile
                _compile(tools, needed)


def _unbuilt(tools: Sequence[GoTool], images: Sequence[Image]) -> list[GoTool]:
    """What is to be built; what goes into an image must be in the cache, wherever else it is."""
    parts = [tool for image in _missing(images) for tool in image.made_of]
    lacking = [tool for tool in parts if build.built(tool) is None]
    return [*lacking, *[tool for tool in _missing(tools) if tool not in lacking]]


def _compile(tools: Sequence[GoTool], needed: float | None = None) -> None:
    if any(tool.programs for tool in tools):
        build.require_c(tools)
        needed = _room(tools) if needed is None else needed
        cache.require_room(needed)
        minutes = sum(tool.minutes for tool in tools)
        say(
            f"building takes about {max(minutes, 1):.0f} min on two cores, "
            f"and up to {needed:.0f} GB of disk while it lasts"
        )
    compiler = go.find()
    for number, tool in enumerate(tools, 1):
        build.build(tool, compiler, f"{number} of {len(tools)}")
    cache.drop_intermediate()


def _room(tools: Sequence[GoTool]) -> float:
    """GB that building the tools takes at most while it lasts."""
    of_host = {tool.name for tool in tools if tool in HOST_TOOLS}
    of_kind = {tool.name for tool in tools if tool in KIND_TOOLS}
    ordinary = {tool.name for tool in tools} - of_host - of_kind
    return (
        cache.NEEDED_GB * bool(ordinary)
        + cache.HOST_NEEDED_GB * bool(of_host)
        + cache.KIND_NEEDED_GB * bool(of_kind)
    )


def _missing(tools: Sequence[AnyTool]) -> list[AnyTool]:
    """Those that are neither placed in this checkout nor in the cache."""
    return [
        tool
        for tool in tools
        if _placed().get(tool.name) != tool.digest and build.built(tool) is None
    ]


def _placed_all(tools: Sequence[Tool]) -> bool:
    return all(_placed().get(tool.name) == tool.digest for tool in tools)


def _placed() -> dict[str, str]:
    """Tool → digest of what lies in `.tools`, what is on PATH, or a plugin's version."""
    record = TOOLS / "placed.json"
    placed: dict[str, str] = json.loads(record.read_text()) if record.exists() else {}
    return placed


def _place(tool: Tool) -> bool:
    """Put the tool's files into its folder of `.tools`: hard links, or copies on another file
    system.

    No symbolic links: pulumi looks for its language host beside its own, resolved, path.
    """
    target = TOOLS / tool.into
    if _placed_all([tool]) and all((target / name).exists() for name in tool.places):
        return False
    target.mkdir(exist_ok=True)
    folder = _cached(tool)
    for name, program in tool.places.items():
        link(folder / program, target / name)
    _record(tool, tool.digest)
    return True


def _cached(tool: Tool) -> Path:
    folder = build.built(tool)
    if folder is None:
        raise SetupError(
            f"{tool.name} is neither whole in .tools nor in the cache; run: make clean setup"
        )
    return folder


def link(source: Path, target: Path) -> None:
    """A hard link to a file, or a copy on another file system, in place of what is there."""
    new = target.with_name(f".{target.name}.new")
    new.unlink(missing_ok=True)
    try:
        os.link(source, new)
    except OSError:
        shutil.copy2(source, new)
    new.replace(target)


def _record(tool: Tool, what: str) -> None:
    """Note what was placed; a tool of which it took the place is no longer noted."""
    new = TOOLS / "placed.json.new"
    placed = {name: was for name, was in _placed().items() if name not in tool.places}
    placed[tool.name] = what
    new.write_text(json.dumps(placed, indent=2, sort_keys=True) + "\n")
    new.replace(TOOLS / "placed.json")


def _place_chart(chart: GoTool) -> bool:
    """The Helm chart of a driver, as it lies in the driver's Go module."""
    (name,) = chart.files
    target = TOOLS / "charts" / f"{name}-{chart.version}"
    if _placed().get(chart.name) == chart.digest and target.exists():
        return False
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(_cached(chart) / name, target)
    _record(chart, chart.digest)
    return True


def _place_plugin(plugin: str) -> bool:
    """A provider for Pulumi's own plugin folder: from PATH it would be used with a warning."""
    version, tool = PLUGINS[plugin]
    placed = PULUMI_HOME / "plugins" / f"resource-{plugin}-v{version}"
    if _placed().get(tool.name) == tool.digest and placed.exists():
        return False
    program = _cached(tool) / next(iter(tool.programs))
    _pulumi("plugin", "install", "resource", plugin, version, "--reinstall", "--file", str(program))
    _record(tool, tool.digest)
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


def environment(own_plugins: bool = True) -> dict[str, str]:
    """What `.tools/env` sets, besides PATH."""
    settings = {
        "PULUMI_BACKEND_URL": f"file://{ROOT / '.state'}",
        "PULUMI_HOME": str(PULUMI_HOME),
        # The stacks hold no secret.
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # The program and all that it runs read and write UTF-8, whatever the locale says.
        "PYTHONUTF8": "1",
    }
    if own_plugins:
        settings["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    return settings


def _write_env(own_plugins: bool) -> bool:
    lines = [
        "# Source this to use pulumi on this checkout's stacks. What kubectl asks stays as it was,",
        "# maybe a cluster of your own: `make shell STACK=NAME` has it ask that of a stack.",
        f'export PATH="{BIN}:$PATH"',
        'no_proxy="${no_proxy:-${NO_PROXY:-}}"',
        f'export no_proxy="${{no_proxy:+$no_proxy,}}{",".join(proxies.LOCAL)}"',
        'export NO_PROXY="$no_proxy"',
    ]
    lines += [f'export {key}="{value}"' for key, value in environment(own_plugins).items()]
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
        errors="replace",
        check=False,
        executable=shutil.which("pulumi", path=path),
    )
    if done.returncode:
        raise SetupError(f"pulumi {' '.join(arguments)} failed: {done.stderr.strip()}")


# --- what a machine without network needs -----------------------------------------------------


def in_cache() -> dict[str, Path]:
    """Every tool that was placed in this checkout → its folder of the cache.

    Plugins that `fetched_plugins` tells are not among them, nor is what only kind needs: it takes
    Docker, and with it a registry or an image of its nodes.
    Raises SetupError, with a remedy, if there is a tool that has none.
    """
    placed = {name: what for name, what in _placed().items() if name not in _only_for_kind()}
    foreign = [name for name, what in placed.items() if what.startswith(ON_PATH)]
    lacking = [release.name for release in RELEASES if not _accounted_for(release, placed)]
    if foreign or lacking:
        raise SetupError(
            f"{', '.join(sorted({*foreign, *lacking}))}: taken from PATH, or not placed, so the "
            f"cache has no copy; run: make setup TOOLCHAIN={DOWNLOAD} (or {BUILD})"
        )
    folders = {
        name: next(cache.folder().glob(f"{name}-*-{digest}"), None)
        for name, digest in placed.items()
        if name not in fetched_plugins()
    }
    gone = sorted(name for name, folder in folders.items() if folder is None)
    if gone:
        raise SetupError(f"{', '.join(gone)}: no longer in {cache.folder()}; run: make clean setup")
    return {name: folder for name, folder in folders.items() if folder is not None}


def _accounted_for(release: Release, placed: Mapping[str, str]) -> bool:
    """Whether all programs of the release were placed, as released or as built."""
    names = {tool.name for tool in release.instead_of if tool not in PULUMI_PLUGINS}
    return release.name in placed or names <= set(placed)


def fetched_plugins() -> dict[str, Path]:
    """Plugins that a released pulumi has fetched by itself: tool → folder in `.tools`."""
    return {
        tool.name: PULUMI_HOME / "plugins" / f"resource-{plugin}-v{version}"
        for plugin, (version, tool) in PLUGINS.items()
        if _placed().get(tool.name) == version
    }


def _only_for_kind() -> set[str]:
    """Names of what nothing but `make setup-kind` places."""
    tools = {tool.name for tool in (*KIND_RELEASES, *KIND_TOOLS, *KIND_IMAGES)}
    return tools - {image.name for image in IMAGES}


def mode_of(folders: Iterable[Path]) -> str:
    """The mode in which a set-up that has these folders in its cache asks nobody."""
    sources = [json.loads((folder / cache.SOURCE).read_text()) for folder in folders]
    return AUTO if any("downloaded" in source for source in sources) else BUILD


def plain_tools() -> set[str]:
    """Names of what `install` alone may place; all else was asked for."""
    releases = {tool.name for release in RELEASES for tool in (release, *release.instead_of)}
    return releases | {chart.name for chart in CHARTS}


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
