"""NVIDIA's kubelet plugin refuses every wrong configuration when it is to prepare a claim with it,
whatever its webhook has let pass."""

from __future__ import annotations

from components.simulated_gpus import GPU_PROFILES, mocked
from tests.checkout import Checkout
from tests.control_plane import control_plane
from tests.node.nvidia_plugin import NODE, plugin, prepare
from tests.opaque_configs import WRONG, claim, config

FAILED = "prepare devices failed"


def test_none_is_prepared_and_each_is_told_in_nvidias_words(checkout: Checkout) -> None:
    with (
        control_plane(checkout) as plane,
        plugin(plane, mocked(NODE, 1, GPU_PROFILES["h200"])) as folder,
    ):
        found = {
            name: prepare(plane, folder, claim(name, wrong.parameters))
            for name, wrong in WRONG.items()
        }
        for_any = claim("for-any", WRONG["kind-for-mig"].parameters)
        del for_any["spec"]["devices"]["config"][0]["requests"]
        passed_over = prepare(plane, folder, for_any)
        right = prepare(plane, folder, claim("right", config()))
    for name, wrong in WRONG.items():
        assert FAILED in found[name], name
        assert wrong.words in found[name]
    assert FAILED not in right
    assert FAILED not in passed_over, "one that is not for this device, and names no request"
