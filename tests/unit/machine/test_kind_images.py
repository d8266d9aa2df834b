"""Node images by digest, and which feature gates a version of Kubernetes would refuse."""

from __future__ import annotations

import re

import pytest

from machine import kind_images


@pytest.mark.parametrize("version", kind_images.DIGESTS)
def test_an_image_is_named_by_its_digest(version: str) -> None:
    assert re.fullmatch(
        rf"kindest/node:v{re.escape(version)}@sha256:[0-9a-f]{{64}}", kind_images.reference(version)
    )


@pytest.mark.parametrize(
    ("gate", "version", "said"),
    [
        ("DRAConsumableCapacity", "1.34.11", ""),
        ("DRAResourcePoolStatus", "1.36.4", ""),
        ("DRAResourcePoolStatus", "1.35.8", "Kubernetes 1.35.8 does not know it; it came with 1.3"),
        ("DRADerivedAttributes", "1.36.4", "it came with 1.37"),
        ("DRADerivedAttributes", "1.37.0", ""),
        ("DRAAdminAcces", "1.36.4", "there is no such gate of DRA; gates: Dynamic"),
        ("InPlacePodVerticalScaling", "1.36.4", ""),
    ],
)
def test_a_gate_that_the_version_does_not_know(gate: str, version: str, said: str) -> None:
    found = kind_images.unknown_gate(gate, version)
    assert said in found
    assert bool(found) is bool(said)
