"""The cluster that a check of pods looks at."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from tests.unit.stage import play


@pytest.fixture
def cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The `Cluster` of the test's module, found by the check that the module is named after."""
    made = request.module.Cluster()
    name = request.module.__name__.rpartition(".test_")[2]
    play(made, monkeypatch, import_module(f"checks.modules.{name}"))
    return made
