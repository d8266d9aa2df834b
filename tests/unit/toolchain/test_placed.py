"""Placing tools in `.tools/`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.unit.toolchain.fakes import fake_go
from toolchain import cache, install, layout, placed, plugins
from toolchain.build_missing import build_missing
from toolchain.errors import SetupError
from toolchain.go import Go
from toolchain.tools import PLUGINS, GoTool

pytestmark = pytest.mark.usefixtures("checkout")


def test_a_tool_is_placed_by_hard_link(tool: GoTool, go: Go) -> None:
    build_missing([tool])
    assert placed.place(tool)
    assert (layout.BIN / "example").samefile(cache.folder() / tool.cache_name / "example")
    assert not (layout.BIN / "example").is_symlink()
    assert not placed.place(tool), "a second time there is nothing to do"


def test_a_tool_is_copied_where_a_link_is_impossible(
    tool: GoTool, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another_file_system(*_: object) -> None:
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", another_file_system)
    build_missing([tool])
    placed.place(tool)
    cached = cache.folder() / tool.cache_name / "example"
    assert not (layout.BIN / "example").samefile(cached)
    assert (layout.BIN / "example").read_bytes() == cached.read_bytes()
    assert os.access(layout.BIN / "example", os.X_OK)


def test_a_changed_tool_takes_the_place_of_the_old_one(tool: GoTool, go: Go, path: Path) -> None:
    build_missing([tool])
    placed.place(tool)
    (tool.folder / "go.mod").write_text("module changed\n")
    fake_go(path, compile_='echo new > "$2"')
    build_missing([tool])
    assert placed.place(tool)
    assert (layout.BIN / "example").read_text() == "new\n"


def test_a_program_that_was_deleted_is_placed_again(tool: GoTool, go: Go) -> None:
    build_missing([tool])
    placed.place(tool)
    (layout.BIN / "example").unlink()
    assert placed.place(tool)
    assert (layout.BIN / "example").exists()


def test_a_program_that_is_nowhere_any_more_has_a_remedy(tool: GoTool, go: Go) -> None:
    build_missing([tool])
    placed.place(tool)
    (layout.BIN / "example").unlink()
    shutil.rmtree(cache.folder())
    with pytest.raises(SetupError, match=r"example is neither .*; run: make clean setup"):
        placed.place(tool)


@pytest.mark.usefixtures("go")
def test_a_plugin_that_was_deleted_is_placed_again() -> None:
    install.install()
    folder = layout.PULUMI_HOME / "plugins"
    placed = {path.name for path in folder.iterdir()}
    assert placed == {f"resource-{name}-v{version}" for name, (version, _) in PLUGINS.items()}
    shutil.rmtree(folder / f"resource-command-v{PLUGINS['command'][0]}")
    assert [plugins.place(plugin) for plugin in PLUGINS] == [True, False]
    assert {path.name for path in folder.iterdir()} == placed


def test_a_missing_kubectl_has_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "scripts" / "kubectl").unlink()
    with pytest.raises(SetupError, match="kubectl is missing; run: make clean setup"):
        placed.place_kubectl()
