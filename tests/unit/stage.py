"""What the tests of checks that look at a scene have in common."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from checks import pod_scenario
from checks.steps import Step
from kube import devices
from tests.unit.benchmark_said import UUID
from tests.unit.fake_kube import FakeKube, findings, gpu_slice

NODE = "gpu-node-0"


@dataclass
class Clock:
    """Passes by being slept by, and a little whenever somebody looks at it."""

    now: float = 0.0

    def monotonic(self) -> float:
        self.now += 0.01
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def play(cluster: FakeKube, monkeypatch: pytest.MonkeyPatch, check: ModuleType) -> None:
    """Have the check find that cluster, and wait by a clock of its own: no test takes its time."""
    cluster.stand_in(monkeypatch, pod_scenario)
    clock = Clock()
    passing = SimpleNamespace(time=time.time, monotonic=clock.monotonic, sleep=clock.sleep)
    for module in (pod_scenario, check):
        if hasattr(module, "time"):
            monkeypatch.setattr(module, "time", passing)


def slices() -> list[Any]:
    """Two GPUs of the node, the first of which is the one that benchmarks were run on."""
    found = gpu_slice(NODE, gpus=2)
    found.spec.devices[0].attributes["uuid"].string = UUID
    return [found]


def end_if_let_go(pod: Any) -> None:
    """A running pod that was released has ended well."""
    if "dra-workshop/release" in pod.metadata.annotations and pod.status.phase == "Running":
        pod.status.phase = "Succeeded"


def need_gpu(steps: Iterable[Step[Any]]) -> list[str]:
    """The ids of the steps that need a GPU, in their order."""
    return [step.id for step in steps if step.least == devices.GPU]


def failed(result: dict[str, Any]) -> dict[str, str]:
    """What was found where a statement failed, by id."""
    return {i: f["found"] for i, f in findings(result).items() if f["status"] == "failed"}
