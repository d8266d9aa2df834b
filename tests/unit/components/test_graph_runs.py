"""A check that is told something else looks at fresh pods: those it had released have ended."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.simulated_gpus import gpu_uuid
from tests.unit.graph import Graph, build

PODS = {
    "exclusive": ("module3-workshop", "Pod/module3-unclaimed"),
    "mps-sharing": ("module4-workshop", "Pod/module4-own"),
    "mps-percentage": ("module5-percentage", "Pod/module5-share-1"),
    "mps-memory": ("module5-memory", "Pod/module5-escaper"),
}
"""Check → the ConfigMap that holds its run, and one of its pods."""
MODULES = '["3", "5"]'


@pytest.fixture(scope="module")
def before() -> Graph:
    return build("module5", modules=MODULES)


def told(graph: Graph, check: str) -> Any:
    return json.loads(graph.resources[f"Command/check-{check}"].inputs["stdin"])["parameters"]


def run(graph: Graph, check: str) -> Any:
    name, pod = PODS[check]
    assert f"ConfigMap/{name}" in graph.resources[pod].depends_on
    return {k: v for k, v in graph.resources[f"ConfigMap/{name}"].inputs["data"].items()
            if not k.endswith(".py")}  # fmt: skip


def test_unchanged_it_stays_in_its_run(before: Graph) -> None:
    again = build("module5", modules=MODULES)
    for check in PODS:
        assert told(again, check) == told(before, check)
        assert run(again, check)["parameters"] == run(before, check)["parameters"]


@pytest.mark.parametrize(
    ("changes", "checks"),
    [
        ({"mpsPercentages": '["100", "50"]'}, {"mps-percentage"}),
        ({"mpsPercentages": '["100", "60", "50", "20", "10", "1"]'}, {"mps-percentage"}),
        ({"mpsClients": "2"}, {"mps-percentage"}),
        ({"mpsClients": "4"}, {"mps-percentage"}),
        ({"mpsSharePercentage": "30"}, {"mps-percentage", "mps-memory"}),
        ({"mpsMemoryLimit": "2Gi"}, {"mps-memory"}),
        (
            {"driverVersion": "0.4.1", "driverChart": "oci://registry.test/chart"},
            {"mps-sharing", "mps-percentage", "mps-memory"},
        ),
        ({"gpusPerNode": "2", "target": gpu_uuid("gpu-node-0", 1)}, set(PODS)),
    ],
)
def test_told_something_else_it_gets_fresh_pods(
    before: Graph, changes: dict[str, str], checks: set[str]
) -> None:
    after = build("module5", modules=MODULES, **changes)
    changed = {check for check in PODS if told(after, check) != told(before, check)}
    assert changed == checks
    fresh = {
        check
        for check in PODS
        if run(after, check)["parameters"] != run(before, check)["parameters"]
    }
    assert fresh == checks
