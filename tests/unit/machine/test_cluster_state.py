"""A cluster that is not whole and running is in a new life, any other in the one it had."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from machine import cluster_state, host_places, kind_places
from machine.cluster_state import FACTS, KUBECONFIG, RUN, START_ID, STARTED

PORTS = {"etcd": 2, "kube-apiserver": 3, "kube-scheduler": 4}
PROCESSES = len(PORTS)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a cluster that is whole and running, in the life "old"."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / RUN / "lab"
    folder.mkdir(parents=True)
    (folder / KUBECONFIG).touch()
    (folder / FACTS).write_text(json.dumps({"kind": "embedded", "ports": PORTS}))
    (folder / START_ID).write_text("old")
    let_run(PROCESSES, monkeypatch)
    return folder


def let_run(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    running = list(PORTS.values())[:count]
    monkeypatch.setattr(cluster_state, "listens", lambda port: port in running)


def is_new(folder: Path) -> bool:
    return cluster_state.of(folder.name) not in ("old", "")


def test_one_that_is_whole_and_running_keeps_its_life(lab: Path) -> None:
    assert cluster_state.of("lab") == "old"


def test_one_ended_process_makes_a_new_life(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let_run(PROCESSES - 1, monkeypatch)
    assert is_new(lab)


@pytest.mark.parametrize("ended", [0, 1])
def test_one_ended_daemon_of_its_host_node_makes_a_new_life(
    lab: Path, monkeypatch: pytest.MonkeyPatch, ended: int
) -> None:
    (lab / host_places.FACTS).touch()
    running = [psutil.Process()] * (len(host_places.DAEMONS) - ended)
    monkeypatch.setattr(host_places, "daemons", lambda: running)
    assert is_new(lab) is bool(ended)


def test_where_it_has_no_host_node_another_labs_daemons_do_not_matter(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_places, "daemons", lambda: [psutil.Process()])
    assert not is_new(lab)


@pytest.mark.parametrize("lost", [FACTS, KUBECONFIG, START_ID])
def test_a_lost_file_makes_a_new_life(lab: Path, lost: str) -> None:
    (lab / lost).unlink()
    assert is_new(lab)


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"kind": "embedded"}'])
def test_broken_facts_make_a_new_life(lab: Path, content: str) -> None:
    (lab / FACTS).write_text(content)
    assert is_new(lab)


@pytest.mark.parametrize("moved", [False, True])
def test_one_whose_checkout_was_moved_is_in_a_new_life(lab: Path, moved: bool) -> None:
    """Its kubeconfig names certificates by absolute paths."""
    folder = lab.with_name("elsewhere") if moved else lab
    facts = {"kind": "embedded", "ports": PORTS, "folder": str(folder.resolve())}
    (lab / FACTS).write_text(json.dumps(facts))
    assert is_new(lab) is moved


def test_where_there_is_no_cluster_no_removal_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cluster_state.begin_removal("lab")
    assert list(tmp_path.iterdir()) == []


def test_one_without_a_folder_is_in_a_new_life(lab: Path) -> None:
    assert is_new(lab.with_name("other"))


def test_a_life_that_was_ended_is_over(lab: Path) -> None:
    cluster_state.end("lab")
    assert is_new(lab)
    cluster_state.end("lab")


def test_one_whose_removal_has_begun_is_not_taken_up_again(lab: Path) -> None:
    cluster_state.begin_removal("lab")
    assert cluster_state.is_being_removed("lab")
    assert is_new(lab)


def test_two_questions_of_one_update_have_the_same_answer(lab: Path) -> None:
    assert is_new(lab.with_name("other"))
    assert cluster_state.of("other") == cluster_state.of("other")


@pytest.mark.parametrize(
    ("started", "new"),
    [
        ({"a": "10:00", "b": "10:01"}, False),
        ({"a": "10:00", "b": "11:30"}, True),
        ({"a": "10:00"}, True),
        ({}, True),
    ],
)
def test_a_node_that_ended_or_was_started_again_makes_a_new_life(
    lab: Path, monkeypatch: pytest.MonkeyPatch, started: dict[str, str], new: bool
) -> None:
    """A container that was started again has lost the CDI specs that its pods need."""
    (lab / FACTS).write_text(json.dumps({"kind": "kind", "nodes": ["a", "b"]}))
    (lab / STARTED).write_text(json.dumps({"a": "10:00", "b": "10:01"}))
    monkeypatch.setattr(kind_places, "started", lambda _: started)
    assert is_new(lab) is new
