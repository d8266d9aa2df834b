"""No unit test reaches a server outside this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from machine import kind_images
from tests.unit.release_site import LabContext, serving

NOWHERE = "http://127.0.0.1:1"
"""A port that nothing listens on."""


@pytest.fixture(autouse=True)
def _no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRA_WORKSHOP_DOWNLOADS", NOWHERE)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "*")


@pytest.fixture(autouse=True, scope="session")
def _no_node_image_of_this_checkout() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind_images, "OFFLINE", Path("no-kind-node.json"))
        yield


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[LabContext]:
    """A server on this machine that takes the place of all where releases are published."""
    with serving(LabContext()) as served:
        monkeypatch.setenv("DRA_WORKSHOP_DOWNLOADS", served.address)
        yield served
