"""Waiting for a control plane, with the scheduler's answers replaced."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3

from machine.errors import LabError
from operations import readiness

CLIENTS: dict[str, Any] = {"scheduler": urllib3.PoolManager, "kwok": urllib3}
"""What each program is asked with."""


def test_a_control_plane_that_stays_unusable_says_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LabError, match=r"does not become usable: the kubeconfig .*cannot be"):
        readiness.wait_until_usable(tmp_path / "kubeconfig", 0.2, {"kube-scheduler": 1})


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Those of a scheduler and a kwok that are ready; the API server is."""
    monkeypatch.setattr(readiness, "Kube", lambda _: SimpleNamespace(text=lambda _: ""))
    answers(monkeypatch, "scheduler", 200, "ok")
    answers(monkeypatch, "kwok", 200, "ok")
    return {"kube-scheduler": 1, "kwok-controller": 1}


def answers(monkeypatch: pytest.MonkeyPatch, program: str, status: int, body: str) -> None:
    answer = SimpleNamespace(status=status, data=body.encode())
    monkeypatch.setattr(CLIENTS[program], "request", lambda *_, **__: answer)


def error(ports: dict[str, int]) -> str:
    with pytest.raises(LabError) as found:
        readiness.wait_until_usable(Path("kubeconfig"), 0.2, ports)
    return str(found.value)


def test_it_is_usable_when_all_of_it_is_ready(ports: dict[str, int]) -> None:
    readiness.wait_until_usable(Path("kubeconfig"), 0.2, ports)


@pytest.mark.parametrize(
    ("program", "status", "body", "told"),
    [
        (
            "scheduler",
            500,
            "[+]ping ok\n[-]informer-sync failed\nhealthz check failed",
            "the scheduler is not ready ([-]informer-sync failed)",
        ),
        ("scheduler", 404, "", "the scheduler is not ready"),
        ("kwok", 500, "no nodes", "kwok is not ready: no nodes"),
    ],
)
def test_a_program_that_is_not_ready_says_what_it_lacks(
    ports: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    status: int,
    body: str,
    told: str,
) -> None:
    answers(monkeypatch, program, status, body)
    assert told in error(ports)
    assert "[+]" not in error(ports)


@pytest.mark.parametrize(("program", "told"), [("scheduler", "the scheduler"), ("kwok", "kwok")])
def test_a_program_that_does_not_listen_cannot_be_reached(
    ports: dict[str, int], monkeypatch: pytest.MonkeyPatch, program: str, told: str
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise urllib3.exceptions.NewConnectionError(conn, "Connection refused")

    conn = urllib3.connection.HTTPConnection("127.0.0.1")
    monkeypatch.setattr(CLIENTS[program], "request", refuse)
    assert f"{told} cannot be reached: " in error(ports)
