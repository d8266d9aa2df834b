"""Previews need the tools but no cluster, no GPU and no network."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkout import Checkout


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    folder: Path = tmp_path_factory.mktemp("plan") / "checkout"
    return Checkout.make(folder)
