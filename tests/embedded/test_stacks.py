"""Every stack for real: up, up again, preview, destroy, destroy again, and nothing left."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.checkout import Checkout
from toolchain.install import committed_stacks

OUTPUTS = {
    "cluster", "driver", "modules", "verification", "benchmarks", "evaluation", "simulated",
    "status", "report",
}  # fmt: skip
IDS = {
    "0": {"tool-kube-apiserver", "tool-etcd", "driver-chart", "feature-gates", "disk"},
    "1": {"api-version", "dra-served", "feature-gates-set", "nodes-ready"},
    "2": {"chart-version", "device-classes", "devices-published", "device-attributes"},
    "3": {"pod-1-running", "pod-2-unschedulable", "claim-2-unallocated", "hand-over",
          "same-device"},
}  # fmt: skip


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
    assert only_warning(made.text)

    unchanged = checkout.preview(stack, "--expect-no-changes")
    assert unchanged.code == 0, unchanged.text
    again = checkout.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes",
                            "--stack", stack)  # fmt: skip
    assert again.code == 0, again.text
    seconds["up again"] = again.seconds
    if stack == "module3":
        applied = checkout.kubectl(stack, "apply", "--dry-run=server", "-f", "manifests/module3/")
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
    assert outputs["simulated"] == "all"
    for module, result in outputs["verification"].items():
        assert result["status"] == "passed"
        assert result["module"] == module
        found = {finding["id"] for finding in result["checks"]}
        assert IDS[module] <= found
        skipped = [f["id"] for f in result["checks"] if f["status"] == "skipped"]
        assert set(skipped) <= {"device-in-pod"}
        assert outputs["modules"][module]["status"] == "passed"


def only_warning(text: str) -> bool:
    """Pulumi's summary warns of nothing but the command plugin's true version."""
    summary = text.partition("Diagnostics:")[2]
    warnings = [line for line in summary.splitlines() if "warning:" in line]
    return all("resource plugin command is expected" in line for line in warnings)


def assert_nothing_left(checkout: Checkout, stack: str, outputs: dict[str, Any]) -> None:
    assert checkout.processes() == []
    assert not (checkout.folder / ".run" / stack).exists()
    for port in outputs["cluster"].get("ports", {}).values():
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"port {port} still answers"
    assert (checkout.folder / ".results" / stack / "latest" / "results.json").exists()
