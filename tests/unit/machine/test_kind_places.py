"""Names of a Kind cluster's containers, and in which life they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from machine import kind_places

NODE = """{"Name": "/%s", "State": {"Running": %s, "StartedAt": "%s"}, "Mounts": []}"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The docker program, to be written; nothing else is on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "docker"


def say(docker: Path, *lines: str, end: str = "exit 0") -> None:
    echoes = [f"echo '{line}'" for line in lines]
    docker.write_text("\n".join(["#!/bin/sh", 'test "$2" = inspect', *echoes, end, ""]))
    docker.chmod(0o755)


def test_nodes_are_called_as_kind_calls_them() -> None:
    assert kind_places.cluster("lab") == "dra-workshop-lab"
    assert kind_places.control_plane("lab") == "dra-workshop-lab-control-plane"
    assert kind_places.workers("lab", 0) == []
    assert kind_places.workers("lab", 3) == [
        "dra-workshop-lab-worker", "dra-workshop-lab-worker2", "dra-workshop-lab-worker3",
    ]  # fmt: skip


def test_when_each_container_was_started(docker: Path) -> None:
    say(docker, NODE % ("a", "true", "10:00"), NODE % ("b", "false", "10:01"))
    assert kind_places.started(["a", "b"]) == {"a": "10:00"}, "b has ended"


def test_one_that_is_gone_is_left_out(docker: Path) -> None:
    say(docker, NODE % ("a", "true", "10:00"), end="echo 'No such container: b' >&2; exit 1")
    assert kind_places.started(["a", "b"]) == {"a": "10:00"}


@pytest.mark.parametrize("script", [None, "exit 1", "exec /bin/sleep 9"])
def test_where_docker_does_not_answer_nothing_runs(
    docker: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    monkeypatch.setattr(kind_places, "ANSWER_SECONDS", 0.2)
    if script:
        say(docker, end=script)
    assert kind_places.started(["a"]) == {}
