"""A cluster that is not whole and running is in a new life, any other in the one it had."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.cluster import life


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def silent() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def cluster(run: Path, ports: list[int], in_life: str | None = "old") -> None:
    (run / "lab").mkdir()
    facts = {"ports": {str(index): port for index, port in enumerate(ports)}}
    (run / "lab" / life.FACTS).write_text(json.dumps(facts))
    if in_life is not None:
        (run / "lab" / life.LIFE).write_text(in_life)


def test_one_that_answers_on_all_its_ports_keeps_its_life(tmp_path: Path, listening: int) -> None:
    cluster(tmp_path, [listening, listening])
    assert life.of("lab", tmp_path) == "old"


def test_one_silent_port_makes_a_new_life(tmp_path: Path, listening: int, silent: int) -> None:
    cluster(tmp_path, [listening, silent])
    assert life.of("lab", tmp_path) not in ("old", "")


def test_one_whose_start_was_never_finished_is_in_a_new_life(
    tmp_path: Path, listening: int
) -> None:
    cluster(tmp_path, [listening], in_life=None)
    assert life.of("lab", tmp_path) not in ("old", "")


@pytest.mark.parametrize("content", [None, "{", "{}", "[]"])
def test_files_that_are_gone_or_broken_make_a_new_life(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        cluster(tmp_path, [])
        (tmp_path / "lab" / life.FACTS).write_text(content)
    assert life.of("lab", tmp_path) not in ("old", "")


def test_two_questions_of_one_update_have_the_same_answer(tmp_path: Path) -> None:
    assert life.of("lab", tmp_path) == life.of("lab", tmp_path)
