"""Every stack for real: up, up again, preview, destroy, destroy again, and nothing left."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from checks.modules import exclusive, mps_memory, mps_percentage, mps_sharing
from checks.steps import Step
from kube.devices import SIMULATED
from tests.checkout import Checkout
from toolchain.layout import committed_stacks

OUTPUTS = {
    "cluster", "node", "driver", "modules", "verification", "benchmarks", "evaluation", "basis",
    "simulated", "status", "report",
}  # fmt: skip
IDS = {
    "0": {"tool-kube-apiserver", "tool-etcd", "driver-chart", "feature-gates", "disk"},
    "1": {"api-version", "dra-served", "feature-gates-set", "nodes-ready"},
    "2": {"chart-version", "device-classes", "devices-published", "device-attributes"},
    "3": {"pod-1-running", "pod-2-unschedulable", "claim-2-unallocated", "hand-over",
          "same-device", "gpu-free"},
    "4": {"pods-running", "claim-shared", "own-claim-waits", "own-claim-runs", "gpu-free"},
    "5": {"sweep-completed", "share-allocated", "share-ended", "memory-allocated", "memory-ended"},
}  # fmt: skip


def need_gpu(*steps: Step[Any]) -> set[str]:
    return {step.id for step in steps if step.least != SIMULATED}


NEED_A_GPU = {
    "3": need_gpu(*exclusive.STEPS),
    "4": need_gpu(*mps_sharing.STEPS),
    "5": need_gpu(*mps_percentage.STEPS, *mps_memory.STEPS),
}
NO_FIGURES = {"skipped": "needs a GPU: this node is simulated"}
TABLES = {
    "3": {"pod-start"},
    "4": {"pod-start"},
    "5": {"mps-thread-percentage", "mps-memory-limit", "pod-start"},
}


@pytest.mark.parametrize("stack", committed_stacks())
def test_a_stack_comes_up_stays_and_goes(
    checkout: Checkout, stack: str, capsys: pytest.CaptureFixture[str]
) -> None:
    checkout.stack(stack)
    seconds = {}

    made = checkout.up(stack)
    assert made.code == 0, made.text
    seconds["up"] = made.seconds
    outputs = checkout.outputs(stack)
    assert_passed(outputs)
    assert_no_figure_was_invented(outputs)
    kept = json.loads((checkout.folder / outputs["report"]).read_text())
    assert kept["benchmarks"] == outputs["benchmarks"]
    assert only_warning(made.text)

    unchanged = checkout.preview(stack, "--expect-no-changes")
    assert unchanged.code == 0, unchanged.text
    again = checkout.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes",
                            "--stack", stack)  # fmt: skip
    assert again.code == 0, again.text
    seconds["up again"] = again.seconds
    folder = f"manifests/{stack}/"
    if (checkout.folder / folder).is_dir():
        applied = checkout.kubectl(stack, "apply", "--dry-run=server", "-f", folder)
        assert applied.code == 0, applied.text

    gone = checkout.destroy(stack)
    assert gone.code == 0, gone.text
    seconds["destroy"] = gone.seconds
    assert_nothing_left(checkout, stack, outputs)
    assert checkout.destroy(stack).code == 0
    with capsys.disabled():
        times = ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())
        print(f"\n  {stack}: {times}")  # noqa: T201


def assert_passed(outputs: dict[str, Any]) -> None:
    assert set(outputs) == OUTPUTS
    assert outputs["status"] == "passed"
    assert outputs["simulated"] == ("all" if outputs["cluster"] else "none")
    assert outputs["basis"]["real"] > outputs["basis"]["mocked"] == 0
    for module, result in outputs["verification"].items():
        assert result["status"] == "passed"
        assert result["module"] == module
        found = {finding["id"] for finding in result["checks"]}
        assert IDS[module] <= found
        skipped = {f["id"] for f in result["checks"] if f["status"] == "skipped"}
        assert skipped == NEED_A_GPU.get(module, set())
        assert "benchmarks" not in result
        assert outputs["modules"][module]["status"] == "passed"


def assert_no_figure_was_invented(outputs: dict[str, Any]) -> None:
    expected = {module: TABLES[module] for module in outputs["verification"] if module in TABLES}
    assert {module: set(tables) for module, tables in outputs["benchmarks"].items()} == expected
    for tables in outputs["benchmarks"].values():
        assert all(table == NO_FIGURES for table in tables.values())


def only_warning(text: str) -> bool:
    """Pulumi's summary warns of nothing but the command plugin's true version."""
    summary = text.partition("Diagnostics:")[2]
    warnings = [line for line in summary.splitlines() if "warning:" in line]
    return all("resource plugin command is expected" in line for line in warnings)


def assert_nothing_left(checkout: Checkout, stack: str, outputs: dict[str, Any]) -> None:
    assert checkout.processes() == []
    assert not (checkout.folder / ".run" / stack).exists()
    assert checkout.credentials(stack) == []
    for port in outputs["cluster"].get("ports", {}).values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"port {port} still answers"
    assert (checkout.folder / ".results" / stack / "latest" / "results.json").exists()


def test_other_limits_are_claimed_anew_by_other_pods(checkout: Checkout) -> None:
    """A claim cannot be changed, and a pod keeps the one that it has."""
    checkout.stack("module5")
    assert checkout.up("module5").code == 0
    checkout.configure("module5", "mpsMemoryLimit", "2Gi")
    changed = checkout.up("module5")
    assert changed.code == 0, changed.text
    assert_passed(checkout.outputs("module5"))
    limit = "jsonpath={.spec.devices.config[0].opaque.parameters.sharing.mpsConfig}"
    claim = checkout.kubectl("module5", "get", "resourceclaim", "-n", "dra-module5", "memory",
                             "-o", limit)  # fmt: skip
    assert '"defaultPinnedDeviceMemoryLimit":"2Gi"' in claim.text
    assert checkout.destroy("module5").code == 0


def test_modules_that_want_the_same_gpu_take_turns(checkout: Checkout) -> None:
    checkout.stack("module4")
    checkout.configure("module4", "modules[0]", "3")
    checkout.configure("module4", "modules[1]", "4")
    made = checkout.up("module4")
    assert made.code == 0, made.text
    outputs = checkout.outputs("module4")
    assert_passed(outputs)
    assert list(outputs["verification"]) == ["0", "1", "2", "3", "4"]
    assert checkout.destroy("module4").code == 0
