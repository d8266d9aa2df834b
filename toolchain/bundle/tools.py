"""The tools that go into a bundle: those that are placed in this checkout."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from toolchain import cache, layout, on_path, placed, plugins
from toolchain.bundle.contents import Group
from toolchain.bundle.unpacking import CACHE
from toolchain.errors import SetupError
from toolchain.images import IMAGES, KIND_IMAGES
from toolchain.mode import AUTO, BUILD, DOWNLOAD
from toolchain.tools import (
    BUILT,
    CHARTS,
    KIND_RELEASES,
    KIND_TOOLS,
    PULUMI_PLUGINS,
    RELEASES,
    Release,
)


def collect(host_node: bool | None) -> tuple[dict[str, Group], bool]:
    """The placed tools as groups, and whether those of the host node are among them.

    host_node: whether they are to be; None where they are placed.
    """
    folders = find_cached()
    of_host = sorted(set(folders) - _plain())
    if host_node and not of_host:
        raise SetupError("HOST=1: the host node's tools are not placed; run: make setup-host")
    with_host = bool(of_host) if host_node is None else host_node
    chosen = {name: path for name, path in folders.items() if with_host or name not in of_host}
    # Large programs that share most of their code come one after another.
    ordered = sorted(chosen.values(), key=lambda path: path.name)
    return {f"{CACHE}/{path.name}": {"": path} for path in ordered}, with_host


def collect_plugins(folder: Path) -> dict[str, Path]:
    """Plugins that are not in the cache, and the note that has set-up find them placed.

    folder: where the note is written.
    """
    fetched = plugins.read_fetched()
    if not fetched:
        return {}
    note = folder / "placed.json"
    versions = {tool: path.name.rpartition("-v")[2] for tool, path in fetched.items()}
    note.write_text(json.dumps(versions) + "\n")
    files = {str(path.relative_to(layout.ROOT)): path for path in fetched.values()}
    return {**files, f"{layout.TOOLS.name}/placed.json": note}


def find_cached() -> dict[str, Path]:
    """Every tool that was placed in this checkout → its folder of the cache.

    Plugins that pulumi has fetched by itself are not among them, nor is what only kind needs: it
    takes Docker, and with it a registry or an image of its nodes.
    Raises SetupError, with a remedy, if there is a tool that has none.
    """
    record = {n: what for n, what in placed.read_record().items() if n not in _only_for_kind()}
    foreign = [name for name, what in record.items() if what.startswith(on_path.MARK)]
    lacking = [release.name for release in RELEASES if not _is_accounted_for(release, record)]
    if foreign or lacking:
        raise SetupError(
            f"{', '.join(sorted({*foreign, *lacking}))}: taken from PATH, or not placed, so the "
            f"cache has no copy; run: make setup TOOLCHAIN={DOWNLOAD} (or {BUILD})"
        )
    folders = {
        name: next(cache.folder().glob(f"{name}-*-{digest}"), None)
        for name, digest in record.items()
        if name not in plugins.read_fetched()
    }
    gone = sorted(name for name, folder in folders.items() if folder is None)
    if gone:
        raise SetupError(f"{', '.join(gone)}: no longer in {cache.folder()}; run: make clean setup")
    return {name: folder for name, folder in folders.items() if folder is not None}


def mode_for(folders: Iterable[Path]) -> str:
    """The mode in which a set-up that has these folders in its cache needs no network."""
    sources = [json.loads((folder / cache.SOURCE).read_text()) for folder in folders]
    return AUTO if any("downloaded" in source for source in sources) else BUILD


def _is_accounted_for(release: Release, record: Mapping[str, str]) -> bool:
    """Whether all programs of the release were placed, as released or as built."""
    names = {tool.name for tool in release.instead_of if tool not in PULUMI_PLUGINS}
    return release.name in record or names <= set(record)


def _only_for_kind() -> set[str]:
    """Names of what nothing but `make setup-kind` places."""
    tools = {tool.name for tool in (*KIND_RELEASES, *KIND_TOOLS, *KIND_IMAGES)}
    return tools - {image.name for image in IMAGES}


def _plain() -> set[str]:
    """Names of what plain `make setup` may place; all else was asked for."""
    releases = {tool.name for release in RELEASES for tool in (release, *release.instead_of)}
    return releases | {tool.name for tool in (*BUILT, *CHARTS)}
