"""What fails is said, saved and exported; once the cause is mended the next update passes."""

from __future__ import annotations

import json
import shutil
from typing import Any

import psutil
import pytest

from tests.checkout import Checkout

STACK = "module3"
SLICE = "gpu-node-0-gpu.nvidia.com"


@pytest.fixture
def running(checkout: Checkout) -> Checkout:
    checkout.stack(STACK)
    made = checkout.up(STACK)
    assert made.code == 0, made.text
    return checkout


def rewrite_slice(checkout: Checkout, brand: str | None) -> None:
    """Publish the slice again, with or without the attribute `brand` of its first GPU."""
    found = json.loads(checkout.kubectl(STACK, "get", "resourceslice", SLICE, "-o", "json").text)
    attributes = found["spec"]["devices"][0]["attributes"]
    attributes.pop("brand", None)
    if brand is not None:
        attributes["brand"] = {"string": brand}
    found["spec"]["pool"]["generation"] += 1
    path = checkout.folder / "slice.json"
    path.write_text(json.dumps(found))
    assert checkout.kubectl(STACK, "replace", "-f", str(path)).code == 0


def statuses(outputs: dict[str, Any]) -> dict[str, str]:
    return {module: result["status"] for module, result in outputs["verification"].items()}


def test_a_failed_check_fails_the_update_and_is_exported_until_it_is_mended(
    running: Checkout,
) -> None:
    rewrite_slice(running, brand=None)
    failed = running.up(STACK, DRA_WORKSHOP_VERIFY="1")
    assert failed.code != 0
    assert "module 2, device-attributes" in failed.text
    assert "lacking ['brand']" in failed.text
    assert "Traceback" not in failed.text
    outputs = running.outputs(STACK)
    assert statuses(outputs) == {"0": "passed", "1": "passed", "2": "failed", "3": "skipped"}
    assert outputs["verification"]["3"]["reason"] == "needs module 2"
    assert outputs["status"] == "failed"
    saved = json.loads((running.folder / outputs["report"]).read_text())
    assert saved["verification"] == outputs["verification"]

    still = running.up(STACK)
    assert still.code != 0, "a failure stays one for as long as its cause is there"

    rewrite_slice(running, brand="Nvidia")
    mended = running.up(STACK)
    assert mended.code == 0, mended.text
    assert set(statuses(running.outputs(STACK)).values()) == {"passed"}
    assert running.preview(STACK, "--expect-no-changes").code == 0
    assert running.destroy(STACK).code == 0


def test_when_not_strict_the_update_ends_well_and_the_status_says_failed(
    running: Checkout,
) -> None:
    running.configure(STACK, "strict", "false")
    rewrite_slice(running, brand=None)
    failed = running.up(STACK, DRA_WORKSHOP_VERIFY="1")
    assert failed.code == 0, failed.text
    assert running.outputs(STACK)["status"] == "failed"
    assert running.destroy(STACK).code == 0


def end_processes(checkout: Checkout) -> None:
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or [""]
        if command[0].startswith(str(checkout.folder.resolve())):
            process.kill()
            process.wait(timeout=10)


def test_a_cluster_whose_processes_ended_is_started_again_and_verified(
    running: Checkout,
) -> None:
    before = running.outputs(STACK)["cluster"]["incarnation"]
    end_processes(running)
    seen = running.preview(STACK)
    assert seen.code == 0, seen.text
    assert "cluster-running update" in seen.text
    assert "Node" not in seen.text, "what is on the cluster is still there"

    revived = running.up(STACK)
    assert revived.code == 0, revived.text
    outputs = running.outputs(STACK)
    assert outputs["cluster"]["incarnation"] == before
    assert set(statuses(outputs).values()) == {"passed"}
    assert running.preview(STACK, "--expect-no-changes").code == 0
    assert running.destroy(STACK).code == 0


def test_a_cluster_without_its_files_is_said_in_one_line_and_can_be_removed(
    running: Checkout,
) -> None:
    end_processes(running)
    shutil.rmtree(running.folder / ".run" / STACK)
    lost = running.up(STACK)
    assert lost.code != 0
    assert "the files of cluster module3 are gone" in lost.text
    assert "make destroy STACK=module3" in lost.text
    assert "Traceback" not in lost.text
    assert running.destroy(STACK).code == 0
    assert running.up(STACK).code == 0
    assert running.destroy(STACK).code == 0


def test_another_feature_gate_makes_a_new_cluster_in_one_update(running: Checkout) -> None:
    before = running.outputs(STACK)["cluster"]["incarnation"]
    running.configure(STACK, "featureGates[0]", "DRAPartitionableDevices=false")
    changed = running.up(STACK)
    assert changed.code == 0, changed.text
    outputs = running.outputs(STACK)
    assert outputs["cluster"]["incarnation"] != before
    assert outputs["status"] == "passed"
    gates = next(
        finding for finding in outputs["verification"]["1"]["checks"]
        if finding["id"] == "feature-gates-set"
    )  # fmt: skip
    assert gates["found"] == "DRAPartitionableDevices=false"
    assert running.preview(STACK, "--expect-no-changes").code == 0
    assert running.destroy(STACK).code == 0


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("featureGates[0]", "NoSuchGate=true", "unrecognized feature gate: NoSuchGate"),
        ("runtimeConfig[0]", "no.such.api/v1=true", "unknown api groups no.such.api/v1"),
        ("kubernetesVersion", "1.35.0", "version 1.36.4"),
    ],
)
def test_module_0_refuses_before_anything_is_made(
    checkout: Checkout, key: str, value: str, said: str
) -> None:
    checkout.stack("module1")
    checkout.configure("module1", key, value)
    refused = checkout.up("module1")
    assert refused.code != 0
    assert said in refused.text
    assert "remedy:" in refused.text
    assert "Traceback" not in refused.text
    assert not (checkout.folder / ".run").exists()
    assert checkout.destroy("module1").code == 0


def test_a_gate_whose_api_is_not_served_is_explained_and_leaves_nothing(
    checkout: Checkout,
) -> None:
    checkout.stack("module1")
    checkout.configure("module1", "featureGates[0]", "DRADeviceTaintRules=true")
    refused = checkout.up("module1")
    assert refused.code != 0
    assert "the scheduler is not ready" in refused.text
    assert "runtimeConfig" in refused.text
    assert checkout.processes() == []
    assert not (checkout.folder / ".run" / "module1").exists()

    checkout.configure("module1", "runtimeConfig[0]", "resource.k8s.io/v1beta2=true")
    mended = checkout.up("module1")
    assert mended.code == 0, mended.text
    assert checkout.destroy("module1").code == 0
