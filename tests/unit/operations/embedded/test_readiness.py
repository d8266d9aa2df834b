"""Waiting for a control plane, with the scheduler's answers replaced."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import urllib3

from kube.errors import KubeError
from machine.errors import LabError
from operations.embedded import readiness


def test_a_control_plane_that_stays_unusable_says_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "USABLE_SECONDS", 0.2)
    with pytest.raises(LabError, match=r"does not become usable: the kubeconfig .*cannot be"):
        readiness.wait_until_usable(tmp_path / "kubeconfig", {"kube-scheduler": 1})


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (500, "[+]ping ok\n[-]informer-sync failed\nhealthz check failed", "[-]informer-sync"),
        (404, "", "the scheduler is not ready"),
    ],
)
def test_a_scheduler_that_is_not_ready_says_what_it_lacks(
    status: int, body: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = SimpleNamespace(status=status, data=body.encode())
    monkeypatch.setattr(urllib3.PoolManager, "request", lambda *_, **__: answer)
    with pytest.raises(KubeError) as found:
        readiness._ask_scheduler(1)
    assert told in str(found.value)
    assert "[+]" not in str(found.value)


def test_a_scheduler_that_is_ready_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = SimpleNamespace(status=200, data=b"ok")
    monkeypatch.setattr(urllib3.PoolManager, "request", lambda *_, **__: answer)
    readiness._ask_scheduler(1)


def test_a_scheduler_that_does_not_listen_cannot_be_reached() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(KubeError, match="the scheduler cannot be reached"):
            readiness._ask_scheduler(closed.getsockname()[1])


@pytest.mark.parametrize(("status", "told"), [(200, None), (500, "kwok is not ready: no nodes")])
def test_kwok_must_be_ready(status: int, told: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = SimpleNamespace(status=status, data=b"no nodes")
    monkeypatch.setattr(urllib3, "request", lambda *_, **__: answer)
    if told is None:
        readiness._ask_kwok(1)
    else:
        with pytest.raises(KubeError, match=told):
            readiness._ask_kwok(1)


def test_a_kwok_that_does_not_listen_cannot_be_reached() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(KubeError, match="kwok cannot be reached"):
            readiness._ask_kwok(closed.getsockname()[1])
