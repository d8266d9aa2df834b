"""A lab has one id for life, wherever its checkout lies and whatever the machine is called."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from machine import identity


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_it_stays_the_same_after_a_move_and_on_a_renamed_host(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = identity.of("module3")
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    monkeypatch.chdir(checkout.rename(checkout.with_name("there")))
    assert identity.of("module3") == identity.known("module3") == made


def test_every_stack_and_every_checkout_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [identity.of("module3"), identity.of("module4")]
    monkeypatch.chdir(tmp_path)
    found.append(identity.of("module3"))
    assert len(set(found)) == 3
    assert all(len(each) == 12 and int(each, 16) >= 0 for each in found)


def test_asking_for_what_is_known_makes_nothing(checkout: Path) -> None:
    assert identity.known("module3") == ""
    assert list(checkout.iterdir()) == []


def test_programs_that_ask_at_once_get_the_same() -> None:
    with ThreadPoolExecutor(8) as programs:
        assert len(set(programs.map(identity.of, ["module3"] * 8))) == 1
    assert [path.name for path in identity.IDS.iterdir()] == ["module3"]


def test_a_file_system_without_hard_links_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert identity.of("module3") == identity.known("module3") != ""


@pytest.mark.parametrize("where", ["files", "state"])
def test_a_lab_of_before_goes_by_the_label_that_it_gave_its_namespaces(where: str) -> None:
    facts = json.dumps({"kind": "existing", "lab": "0123456789ab"})
    if where == "files":
        path, text = Path(".run/module3/cluster.json"), facts
    else:
        path = identity.state_of("module3")
        urn = "urn:pulumi:module3::dra-workshop::command:local:Command::cluster"
        resource = {"urn": urn, "outputs": {"stdout": facts}}
        text = json.dumps({"checkpoint": {"latest": {"resources": [resource]}}})
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert identity.known("module3") == identity.of("module3") == "0123456789ab"
    path.unlink()
    assert identity.known("module3") == "0123456789ab"
