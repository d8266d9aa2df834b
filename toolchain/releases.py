"""Tools as their projects release them, if the network, the user and this machine allow it."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from toolchain import build, layout, placed, plugins
from toolchain.errors import DownloadError, SetupError, WrongChecksumError
from toolchain.mode import AUTO, BUILD, DOWNLOAD
from toolchain.progress import say
from toolchain.tools import PULUMI_RELEASE, Release

PROBE_SECONDS = {AUTO: 3.0, DOWNLOAD: 30.0}
"""How long servers may take to answer with the checksums; then all is built, or set-up fails."""
REMEDY = "check the network, or let set-up build what it cannot download: make setup TOOLCHAIN=auto"


def place(wanted: Sequence[Release], mode: str) -> tuple[list[Release], list[bool]]:
    """Place those of `wanted` that are available as released.

    Returns them, and for each whether it was not placed yet.
    """
    released = find_released(wanted, mode)
    changed = [placed.place(release) for release in released]
    if PULUMI_RELEASE in released:
        plugin = plugins.find_unavailable(str(layout.BIN / "pulumi"))
        if plugin and mode == DOWNLOAD:
            raise SetupError(f"pulumi cannot get its plugin {plugin}; {REMEDY}")
        if plugin:
            say(f"pulumi cannot get its plugin {plugin}; building our own")
            released.remove(PULUMI_RELEASE)
    return released, changed


def find_released(wanted: Sequence[Release], mode: str) -> list[Release]:
    """Those of `wanted` that are, now, placed or in the cache as released.

    In `auto`, what has been built is not downloaded, and what cannot be downloaded is left out.
    Raises SetupError in `download` if there is such.
    """
    if mode == BUILD:
        return []
    if mode == AUTO:
        wanted = [release for release in wanted if _is_first_choice(release)]
    unpublished = [release.title for release in wanted if not release.published]
    if unpublished:
        raise SetupError(
            f"{', '.join(unpublished)}: not released for {sys.platform}, so it must be built: "
            "make setup TOOLCHAIN=auto"
        )
    failures = _download(placed.find_missing(wanted), PROBE_SECONDS[mode])
    if failures and mode == DOWNLOAD:
        raise SetupError("\n  ".join([*map(str, failures.values()), REMEDY]))
    failed = [release for release in wanted if release.name in failures]
    if failed:
        _report(failed, failures.values())
    return [release for release in wanted if release not in failed]


def _is_first_choice(release: Release) -> bool:
    """Whether the release is published, and nothing is there that was built instead of it."""
    return release.published and (
        placed.are_placed([release]) or bool(placed.find_missing(release.instead_of))
    )


def _download(releases: Sequence[Release], seconds: float) -> dict[str, DownloadError]:
    """Download the releases into the cache; returns, by name, why one is not available."""
    if not releases:
        return {}
    from toolchain import download  # a tenth of a second that other set-ups need not wait

    with build.alone():  # another set-up may have downloaded them meanwhile
        return download.get(placed.find_missing(releases), seconds)


def _report(failed: Sequence[Release], errors: Iterable[DownloadError]) -> None:
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
