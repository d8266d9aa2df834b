"""No unit test reaches a server outside this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.release_site import LabContext, serving

NOWHERE = "http://127.0.0.1:1"
"""A port that nothing listens on."""


@pytest.fixture(autouse=True)
def _no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRA_WORKSHOP_DOWNLOADS", NOWHERE)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "*")


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[LabContext]:
    """A server on this machine that takes the place of all where releases are published."""
    with serving(LabContext()) as served:
        monkeypatch.setenv("DRA_WORKSHOP_DOWNLOADS", served.address)
        yield served
