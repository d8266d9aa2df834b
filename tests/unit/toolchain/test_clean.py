"""`make clean`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.toolchain.fakes import Capture, write_megabytes
from toolchain import cache, clean

pytestmark = pytest.mark.usefixtures("checkout")


@pytest.fixture
def set_up(checkout: Path) -> Path:
    """A checkout whose one tool is a hard link into the cache."""
    (checkout / ".venv").mkdir()
    (checkout / ".tools").mkdir()
    cache.folder().mkdir(parents=True)
    (checkout / ".tools" / "kube").touch()
    os.link(checkout / ".tools" / "kube", cache.folder() / "kube")
    return checkout


def test_clean_removes_what_set_up_made_and_says_how_much(set_up: Path, capsys: Capture) -> None:
    write_megabytes(set_up / ".venv" / "package", 80)
    with pytest.raises(SystemExit) as end:
        clean.clean(with_cache=False)
    assert end.value.code == 0
    assert {path.name for path in set_up.iterdir()} == {"Pulumi.dev.yaml", "Pulumi.module0.yaml"}
    assert (cache.folder() / "kube").exists()
    assert capsys.readouterr().err == "set-up: freeing 0.1 GB\n"


def test_clean_removes_the_cache_when_asked_to(set_up: Path) -> None:
    with pytest.raises(SystemExit):
        clean.clean(with_cache=True)
    assert not cache.folder().exists()


def test_clean_does_not_count_what_the_cache_still_holds(set_up: Path, capsys: Capture) -> None:
    write_megabytes(set_up / ".tools" / "kube", 80)
    with pytest.raises(SystemExit):
        clean.clean(with_cache=False)
    assert capsys.readouterr().err == "set-up: freeing 0.0 GB\n"


def test_clean_counts_what_tools_and_cache_share_once(set_up: Path, capsys: Capture) -> None:
    write_megabytes(set_up / ".tools" / "kube", 80)
    with pytest.raises(SystemExit):
        clean.clean(with_cache=True)
    assert capsys.readouterr().err == "set-up: freeing 0.1 GB\n"
