"""The cache of built tools."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from toolchain import cache
from toolchain.errors import SetupError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "dra-workshop"


def fill(path: Path, kilobytes: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(kilobytes * 1024))
    return path


def test_the_cache_is_where_the_user_keeps_caches(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache.folder() == folder
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "")  # the same as unset
    assert cache.folder() == tmp_path / ".cache" / "dra-workshop"


def test_too_little_room_is_refused_with_both_sizes_and_a_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3_240_000_000))
    with pytest.raises(SetupError) as refusal:
        cache.require_room(folder)
    assert str(refusal.value) == (
        f"building the tools takes 15 GB and {folder} has 3.2 GB free; "
        "free some room, or set XDG_CACHE_HOME to a folder on a larger disk"
    )


def test_enough_room_is_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=15e9))
    cache.require_room(folder)


def test_size_counts_a_hard_link_once_and_does_not_follow_symbolic_ones(folder: Path) -> None:
    file = fill(folder / "a" / "file", 256)
    alone = cache.size(folder)
    assert 256 * 1024 <= alone < 300 * 1024
    (folder / "b").mkdir()
    os.link(file, folder / "b" / "again")
    (folder / "b" / "link").symlink_to(file)
    assert cache.size(folder) < alone + 10 * 1024


def test_only_what_was_needed_to_build_is_dropped(folder: Path) -> None:
    for name in (*cache.INTERMEDIATE, "tool-1.2.3-0123"):
        fill(folder / name / "file", 1)
    cache.drop_intermediate()
    assert [path.name for path in folder.iterdir()] == ["tool-1.2.3-0123"]
    cache.drop_intermediate()  # nothing there is no error


def test_clearing_removes_all_and_says_how_much(folder: Path) -> None:
    fill(folder / "tool" / "file", 256)
    assert cache.clear() >= 256 * 1024
    assert not folder.exists()
    assert cache.clear() == 0
