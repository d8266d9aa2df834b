"""Building what is neither placed nor in the cache."""

from __future__ import annotations

import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.scripts import calls, wait_until
from tests.unit.toolchain.fakes import (
    Capture,
    builds,
    fake_go,
    make_tool,
    partial_folders,
    write_megabytes,
)
from toolchain import build, cache
from toolchain.build_missing import build_missing, room_for
from toolchain.errors import SetupError
from toolchain.go import Go
from toolchain.tools import KIND, KUBELET, KUBERNETES, GoTool

pytestmark = pytest.mark.usefixtures("checkout")


def test_too_little_room_is_refused_before_anything_is_built(
    tool: GoTool, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3.2e9))
    with pytest.raises(SetupError, match=r"takes 15 GB and .* has 3\.2 GB free"):
        build_missing([tool])
    assert calls(go.program) == []


def test_room_that_an_interrupted_build_has_taken_is_not_asked_for_again(
    tool: GoTool, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cache.folder() / "go-build").mkdir(parents=True)
    write_megabytes(cache.folder() / "go-build" / "package", 12)
    monkeypatch.setattr(cache, "NEEDED_GB", 0.015)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=8e6))
    build_missing([tool])
    assert build.built(tool) is not None


def test_a_build_goes_on_where_a_failed_one_stopped(
    tool: GoTool, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = make_tool(tmp_path / "more", monkeypatch, "broken")
    shutil.copytree(tmp_path / "modules", tmp_path / "more", dirs_exist_ok=True)
    fails = 'mkdir -p "$GOCACHE"; case "$2" in */broken) exit 1 ;; *) echo program > "$2" ;; esac'
    go = fake_go(path, compile_=fails)
    with pytest.raises(SetupError, match="building broken"):
        build_missing([tool, broken])
    assert (cache.folder() / "go-build").is_dir(), "what was compiled is kept"

    fake_go(path)
    build_missing([tool, broken])
    assert builds(go) == 3, "example, broken, broken again"
    assert build.built(broken) is not None
    assert partial_folders() == []


def build_while_another_waits(tool: GoTool, go: Go, capsys: Capture) -> Future[None]:
    """Build `tool` while a second set-up of the same user wants it too."""
    said: list[str] = []

    def second_waits() -> bool:
        said.append(capsys.readouterr().err)
        return "another set-up is building the same tools; waiting for it" in "".join(said)

    with ThreadPoolExecutor() as second, build.alone():
        waiting = second.submit(build_missing, [tool])
        wait_until(second_waits)
        build.build(tool, go, "1 of 1")
    return waiting


def test_of_two_builders_the_second_waits_and_builds_nothing(
    tool: GoTool, go: Go, capsys: Capture
) -> None:
    build_while_another_waits(tool, go, capsys).result()
    assert builds(go) == 1


def test_a_builder_that_waited_needs_no_room_for_what_the_first_has_built(
    tool: GoTool, go: Go, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3.2e9))
    build_while_another_waits(tool, go, capsys).result()


def test_room_is_asked_for_what_is_built() -> None:
    assert room_for([KUBERNETES]) == cache.NEEDED_GB
    assert room_for([KUBELET]) == cache.HOST_NEEDED_GB
    assert room_for([KUBERNETES, KUBELET]) == cache.NEEDED_GB + cache.HOST_NEEDED_GB
    assert room_for([KIND, KIND]) == cache.KIND_NEEDED_GB
    assert room_for([KIND, KUBELET]) == cache.KIND_NEEDED_GB + cache.HOST_NEEDED_GB
