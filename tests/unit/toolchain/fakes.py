"""A Go and a Pulumi that are shell scripts, and a tool to build."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.scripts import calls, write_script
from toolchain import cache, layout
from toolchain.go import Go
from toolchain.tools import PULUMI_VERSION, GoTool, tool

Capture = pytest.CaptureFixture[str]
PLACE_PLUGIN = 'mkdir -p "$PULUMI_HOME/plugins/resource-$4-v$5"'


def fake_pulumi(
    path: Path, *, version: str = f"v{PULUMI_VERSION}", plugin: str = PLACE_PLUGIN
) -> Path:
    """A Pulumi that can say its version, install a plugin and make a stack."""
    stacks = ".state/.pulumi/stacks/dra-workshop"
    body = f"""case "$1 $2" in
version*) echo {version} ;;
plugin*) {plugin} ;;
stack*) mkdir -p {stacks}; touch {stacks}/$3.json ;;
esac"""
    return write_script(path, body)


def fake_go(
    folder: Path,
    *,
    version: str = "go1.26.1",
    fetch: str = "printf 'alpha\\nbeta\\n'",
    compile_: str = 'echo alpha >&2; echo beta >&2; echo program > "$2"',
    module: str = "exit 1",
) -> Go:
    """A Go compiler whose answers are shell commands; `$2` of compile_ is the file to write."""
    body = f"""case $1 in
env) echo {version} ;;
list) {fetch} ;;
build) while [ "$1" != -o ]; do shift; done
    {compile_} ;;
mod) {module} ;;
esac"""
    return Go(str(write_script(folder / "go", body)))


def make_tool(modules: Path, monkeypatch: pytest.MonkeyPatch, name: str = "example") -> GoTool:
    """A tool of one program, with a wrapper module of its own."""
    monkeypatch.setattr(tool, "MODULES", modules)
    (modules / name).mkdir(parents=True)
    (modules / name / "go.mod").write_text(f"module {name}\n")
    (modules / name / "go.sum").write_text("")
    return GoTool(name, "1.2.3", {name: "."}, sets={"main.version": "1.2.3"})


def partial_folders() -> list[Path]:
    return list(cache.folder().glob("*.partial-*"))


def builds(go: Go) -> int:
    return sum(call.startswith("build ") for call in calls(go.program))


def released(name: str) -> bool:
    """Whether a placed program is one that was downloaded."""
    return (layout.BIN / name).read_text(errors="replace") == f"released {name}"


def choose(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setenv("DRA_WORKSHOP_TOOLCHAIN", mode)


def write_megabytes(path: Path, megabytes: int) -> None:
    path.write_bytes(os.urandom(1_000_000) * megabytes)
