"""Simulated slices are what NVIDIA's driver publishes of the same GPUs, attribute for attribute."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from components.simulated_gpus import GPU_PROFILES, devices, mocked
from tests.checkout import Checkout
from tests.control_plane import Plane, control_plane
from tests.marks import repeat
from tests.node.nvidia_plugin import NODE, plugin, published
from toolchain.tools.host_node import DRIVER_PLUGIN_VERSION

MOST = 16
CASES = [
    pytest.param("h200", 2, "", id="h200"),
    *(repeat(name, 2, "", id=name) for name in GPU_PROFILES if name != "h200"),
    repeat("h100", MOST, "", id="as many as there can be"),
    pytest.param("h200", 1, "memory", id="memory"),
    pytest.param("a100", 2, "4", id="4 shares"),
    pytest.param("t4", 1, "unlimited", id="unlimited"),
    repeat("gb10", 1, "unlimited", id="shares of a GPU without memory"),
]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    folder: Path = tmp_path_factory.mktemp("slices")
    with control_plane(Checkout.make(folder / "checkout")) as made:
        yield made


@pytest.mark.parametrize(("name", "count", "shares"), CASES)
def test_a_simulated_slice_is_what_the_driver_publishes(
    plane: Plane, name: str, count: int, shares: str
) -> None:
    profile = GPU_PROFILES[name]
    simulated = devices(NODE, count, profile, DRIVER_PLUGIN_VERSION, shares)
    with plugin(plane, mocked(NODE, count, profile), shares):
        assert published(plane) == simulated
