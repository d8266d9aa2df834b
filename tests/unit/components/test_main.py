"""`python -m components`: what other programs and make ask of it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from machine.configuration import read_configuration
from toolchain.layout import ROOT, committed_stacks


def run(*arguments: str, given: object = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "components", *arguments],
        input=json.dumps(given), capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip


def test_the_stacks_are_listed() -> None:
    lines = run("list").stdout.splitlines()
    assert lines[0].split() == ["stack", "modules", "shows", "needs", "takes"]
    assert [line.split()[0] for line in lines[1:]] == committed_stacks()


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({}, 0, ""),
        (
            {"nodes": "many"},
            1,
            "configuration key 'nodes': 'many' is not allowed; a whole number from 1 to 16\n",
        ),
    ],
)
def test_settings_are_checked_for_other_programs(
    changes: dict[str, str], code: int, said: str
) -> None:
    done = run("check-settings", "--stack", "dev", given=read_configuration("dev") | changes)
    assert (done.returncode, done.stdout, done.stderr) == (code, said, "")


def test_settings_load_neither_the_kubernetes_client_nor_pulumi_nor_psutil() -> None:
    program = "import components.settings, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert not {"kubernetes", "pulumi", "psutil"} & {*done.stdout.split()}
