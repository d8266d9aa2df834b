"""A stack's configuration as the program gets it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from machine.configuration import read_configuration
from toolchain.layout import ROOT


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)


def test_a_stack_has_the_defaults_of_the_project_and_its_own_values() -> None:
    Path("Pulumi.dev.yaml").write_text(
        'config:\n  dra-workshop:modules: ["1"]\n  dra-workshop:nodes: 3\n'
    )
    found = read_configuration("dev")
    assert (found["modules"], found["nodes"]) == ('["1"]', "3")
    assert (found["gpusPerNode"], found["featureGates"]) == ("2", "[]")


def test_a_stack_without_configuration_has_the_defaults() -> None:
    Path("Pulumi.dev.yaml").write_text("encryptionsalt: v1:x\n")
    assert read_configuration("dev")["modules"] == '["0", "1", "2", "3"]'
