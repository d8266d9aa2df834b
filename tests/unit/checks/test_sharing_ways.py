"""The ways to share a GPU: what their claims and pods are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from checks.sharing_ways import SWEEPS, WAYS, Way
from components import schema

CLAIM, POD = yaml.safe_load_all(Path("manifests/module5/40-sharing.yaml").read_text())
LAB: dict[str, Any] = {
    "sweep": "full",
    "mpsDaemonset": {"pipeDirectory": "/mps", "volumeClaim": "pipe"},
    "withShares": True,
}


def named(way: Way) -> str:
    return way.name


@pytest.mark.parametrize("way", WAYS, ids=named)
def test_every_way_has_objects_that_kubernetes_knows(way: Way) -> None:
    assert way.skipped(LAB) == ""
    claim, pod = way.claim(CLAIM), way.pod(POD, LAB)
    assert [*schema.problems(claim), *schema.problems(pod)] == []
    for config in claim["spec"]["devices"].get("config", []):
        assert config["requests"] == ["gpu"]
        assert config["opaque"]["parameters"]["kind"] == "GpuConfig"


@pytest.mark.parametrize("way", WAYS, ids=named)
def test_the_models_are_not_changed(way: Way) -> None:
    before = repr((CLAIM, POD))
    way.claim(CLAIM)
    way.pod(POD, LAB)
    assert repr((CLAIM, POD)) == before


@pytest.mark.parametrize(
    ("lacking", "way", "reason"),
    [
        ({"withShares": False}, "time-short", "needs a driver of the lab's own, 0.5.0 or later"),
        ({"withShares": False}, "shares", "needs a driver of the lab's own, 0.5.0 or later"),
        ({"mpsDaemonset": None}, "mps-daemonset", "needs mps=daemonset or mps=both"),
    ],
)
def test_what_a_lab_has_not_is_skipped_with_its_reason(
    lacking: dict[str, Any], way: str, reason: str
) -> None:
    skipped = {each.name: why for each in WAYS if (why := each.skipped(LAB | lacking))}
    assert skipped[way].startswith(reason)
    assert len({*skipped.values()}) == 1, "the others are measured"


def test_a_way_is_measured_with_the_clients_that_it_makes_sense_for() -> None:
    found = {way.name: way.clients(SWEEPS["full"]) for way in WAYS}
    assert found["exclusive"] == [1]
    assert found["time-sliced"] == [2, 3, 4]
    assert found["mps-driver"] == [1, 2, 3, 4]
