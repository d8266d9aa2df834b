"""Pulumi on a checkout: its environment and its stacks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.unit.scripts import write_script
from toolchain import install, layout, stacks
from toolchain.errors import SetupError
from toolchain.go import Go

pytestmark = pytest.mark.usefixtures("checkout")


def test_the_environment_file_can_be_sourced(go: Go, checkout: Path) -> None:
    install.install()
    shown = subprocess.run(
        ["/bin/sh", "-c", '. .tools/env; echo "$PATH"; echo "$PULUMI_BACKEND_URL $PULUMI_HOME"'],
        cwd=checkout,
        env={"PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.splitlines() == [
        f"{checkout}/.tools/bin:/usr/bin",
        f"file://{checkout}/.state {checkout}/.tools/pulumi",
    ]
    assert "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION" in (layout.TOOLS / "env").read_text()


def test_committed_stacks_are_the_files_in_the_checkout() -> None:
    assert layout.committed_stacks() == ["dev", "module0"]


def test_a_pulumi_that_fails_says_what_it_was_asked_and_why(path: Path) -> None:
    write_script(path / "pulumi", "echo 'error: no such stack' >&2; exit 255")
    with pytest.raises(SetupError, match="pulumi stack init dev failed: error: no such stack"):
        stacks.run_pulumi("stack", "init", "dev")
