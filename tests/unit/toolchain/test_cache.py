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
        cache.require_room(cache.NEEDED_GB)
    assert str(refusal.value) == (
        f"building the tools takes 15 GB and {folder} has 3.2 GB free; "
        "free some room, or set XDG_CACHE_HOME to a folder on a larger disk"
    )


def test_enough_room_is_no_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=15e9))
    cache.require_room(cache.NEEDED_GB)
    assert folder.is_dir(), "its file system was asked"


def test_what_an_interrupted_build_has_put_there_is_room_for_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        cache, "freed_by_removing", lambda folders: 6e9 * sum(map(Path.exists, folders))
    )
    for name in (*cache.INTERMEDIATE, "tool-1.2.3-0123"):
        fill(folder / name / "file", 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3e9))
    cache.require_room(cache.NEEDED_GB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2.9e9))
    with pytest.raises(SetupError, match=r"takes 3 GB and .* has 2\.9 GB free"):
        cache.require_room(cache.NEEDED_GB)


def test_removing_frees_a_hard_link_once_and_what_a_symbolic_one_names_not_at_all(
    folder: Path,
) -> None:
    file = fill(folder / "a" / "file", 256)
    alone = cache.freed_by_removing([folder])
    assert 256 * 1024 <= alone < 300 * 1024
    (folder / "b").mkdir()
    os.link(file, folder / "b" / "again")
    (folder / "b" / "link").symlink_to(file)
    assert alone <= cache.freed_by_removing([folder]) < alone + 10 * 1024


def test_removing_frees_nothing_of_a_file_that_keeps_a_link_elsewhere(folder: Path) -> None:
    kept, removed = folder / "kept", folder / "removed"
    fill(kept / "file", 256)
    removed.mkdir()
    os.link(kept / "file", removed / "file")
    assert cache.freed_by_removing([removed]) == 0
    assert 256 * 1024 <= cache.freed_by_removing([removed, kept]) < 300 * 1024


def test_removing_what_is_not_there_frees_nothing(folder: Path) -> None:
    assert cache.freed_by_removing([folder]) == 0
    assert cache.freed_by_removing([]) == 0


def test_only_what_was_needed_to_build_is_dropped(folder: Path) -> None:
    for name in (*cache.INTERMEDIATE, "tool-1.2.3-0123"):
        fill(folder / name / "file", 1)
    cache.drop_intermediate()
    assert [path.name for path in folder.iterdir()] == ["tool-1.2.3-0123"]
    cache.drop_intermediate()  # nothing there is no error
