"""Waiting for a control plane, with the scheduler's answers replaced."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3

from machine.errors import LabError
from operations import readiness

PORTS = {"kube-scheduler": 1, "kwok-controller": 2, "dra-webhook": 3}
Answers = dict[int, tuple[int, str]]


def test_a_control_plane_that_stays_unusable_says_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LabError, match=r"does not become usable: the kubeconfig .*cannot be"):
        readiness.wait_until_usable(tmp_path / "kubeconfig", 0.2, {"kube-scheduler": 1})


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """What each program answers at its port: all are ready, as is the API server."""
    made: Answers = dict.fromkeys(PORTS.values(), (200, "ok"))

    def request(self: urllib3.PoolManager, method: str, url: str, **_: Any) -> Any:
        port = urllib3.util.parse_url(url).port or 0
        if port not in made:
            connection = urllib3.connection.HTTPConnection("127.0.0.1")
            raise urllib3.exceptions.NewConnectionError(connection, "Connection refused")
        status, body = made[port]
        return SimpleNamespace(status=status, data=body.encode())

    monkeypatch.setattr(readiness, "Kube", lambda _: SimpleNamespace(text=lambda _: ""))
    monkeypatch.setattr(urllib3.PoolManager, "request", request)
    return made


def error() -> str:
    with pytest.raises(LabError) as found:
        readiness.wait_until_usable(Path("kubeconfig"), 0.2, PORTS)
    return str(found.value)


@pytest.mark.usefixtures("answers")
def test_it_is_usable_when_all_of_it_is_ready() -> None:
    readiness.wait_until_usable(Path("kubeconfig"), 0.2, PORTS)


@pytest.mark.parametrize(
    ("program", "status", "body", "told"),
    [
        (
            "kube-scheduler",
            500,
            "[+]ping ok\n[-]informer-sync failed\nhealthz check failed",
            "the scheduler is not ready ([-]informer-sync failed)",
        ),
        ("kube-scheduler", 404, "", "the scheduler is not ready"),
        ("kwok-controller", 500, "no nodes", "kwok is not ready: no nodes"),
        ("dra-webhook", 503, "wait", "NVIDIA's admission webhook is not ready: wait"),
    ],
)
def test_a_program_that_is_not_ready_says_what_it_lacks(
    answers: Answers, program: str, status: int, body: str, told: str
) -> None:
    answers[PORTS[program]] = (status, body)
    assert told in error()
    assert "[+]" not in error()


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("kube-scheduler", "the scheduler"),
        ("kwok-controller", "kwok"),
        ("dra-webhook", "NVIDIA's admission webhook"),
    ],
)
def test_a_program_that_does_not_listen_cannot_be_reached(
    answers: Answers, program: str, told: str
) -> None:
    del answers[PORTS[program]]
    assert f"{told} cannot be reached: " in error()
