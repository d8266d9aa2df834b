"""What NVIDIA's kubelet plugin says when it is to prepare a claim with a wrong configuration,
whatever its webhook has let pass."""

from __future__ import annotations

from components.simulated_gpus import GPU_PROFILES, mocked
from tests.checkout import Checkout
from tests.control_plane import control_plane
from tests.node.nvidia_plugin import NODE, plugin, prepare
from tests.opaque_configs import FOR_ONE_REQUEST, PASSED_OVER, WRONG, claim, config

FAILED = "prepare devices failed"


def test_none_is_prepared_and_each_is_told_in_nvidias_words(checkout: Checkout) -> None:
    """But for the one that is passed over where it is for all requests."""
    with (
        control_plane(checkout) as plane,
        plugin(plane, mocked(NODE, 2, GPU_PROFILES["h200"])) as folder,
    ):
        found = {
            name: prepare(plane, folder, claim(name, wrong.parameters))
            for name, wrong in WRONG.items()
        }
        for_one = claim("for-one", WRONG[PASSED_OVER].parameters, requests=2)
        assert FOR_ONE_REQUEST in prepare(plane, folder, for_one)
        assert FAILED not in prepare(plane, folder, claim("right", config()))
    assert {name for name in WRONG if FAILED not in found[name]} == {PASSED_OVER}
    for name, wrong in WRONG.items():
        assert wrong.words in found[name]
