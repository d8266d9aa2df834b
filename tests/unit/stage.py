"""What the tests of checks that look at a scene have in common."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from checks import pod_scenario, wrong_configs
from checks.mps_daemon import EXCLUSIVE_MODE
from checks.steps import Step
from kube import devices
from kube.client import explained
from tests.unit.benchmark_said import UUID
from tests.unit.fake_kube import FakeKube, deployment, findings, gpu_slice, pod

NODE = "gpu-node-0"
PLUGIN = "plugin"
PLUGIN_POD = f"{PLUGIN}-abcde"


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
    for module in (pod_scenario, wrong_configs, check):
        if hasattr(module, "time"):
            monkeypatch.setattr(module, "time", passing)


class MpsCluster(FakeKube):
    """A cluster whose driver runs an MPS daemon for a claim as long as that has a GPU.

    daemon_of: the claim's name; limits: commands that the daemon is given; left: folders of other
    daemons; mode: the GPU's compute mode without a daemon.
    """

    daemon_of = ""
    limits: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    mode = "Default"

    def execute(self, namespace: str, pod: str, script: str, container: str | None = None) -> str:
        if (pod, container) != (PLUGIN_POD, "gpus"):
            return super().execute(namespace, pod, script)
        with explained():
            self.api.answer("connect_get_namespaced_pod_exec")
        modes = f"GPU-other, Default\n{UUID}, {EXCLUSIVE_MODE if self.shared else self.mode}"
        return "\n".join([modes, *self.left])

    @property
    def shared(self) -> bool:
        (claim,) = (each for each in self.claims if each.metadata.name == self.daemon_of)
        return bool(claim.status and claim.status.allocation)

    def start_daemon(self, claim: str, *limits: str) -> None:
        self.daemon_of = claim
        self.driver_pods.append(pod(PLUGIN_POD, "Running", on=NODE))
        lines = [f'$RUN "echo {limit} | nvidia-cuda-mps-control"' for limit in limits]
        name = f"mps-control-daemon-uid-of-{claim}-7882d"
        self.deployments.append(deployment(name, "\n".join(['$RUN "control -d"', *lines])))

    def end_daemon(self) -> None:
        self.deployments = [each for each in self.deployments if "uid-of" not in each.metadata.name]


def slices() -> list[Any]:
    """Two GPUs of the node, the first of which is the one that benchmarks were run on."""
    found = gpu_slice(NODE, gpus=2)
    found.spec.devices[0].attributes["uuid"].string = UUID
    return [found]


def end_if_let_go(pod: Any) -> None:
    """A running pod that was released has ended well."""
    if "dra-workshop/release" in pod.metadata.annotations and pod.status.phase == "Running":
        pod.status.phase = "Succeeded"


def skipped_on(kind: str, steps: Iterable[Step[Any]]) -> dict[str, str]:
    """Why steps are skipped with such devices, by their ids."""
    return {
        step.id: devices.too_unreal(kind, step.least)
        for step in steps
        if devices.LEVELS.index(step.least) > devices.LEVELS.index(kind)
    }


def skipped(result: dict[str, Any]) -> dict[str, str]:
    """Why statements were skipped, by id."""
    return {i: f["found"] for i, f in findings(result).items() if f["status"] == "skipped"}


def failed(result: dict[str, Any]) -> dict[str, str]:
    """What was found where a statement failed, by id."""
    return {i: f["found"] for i, f in findings(result).items() if f["status"] == "failed"}
