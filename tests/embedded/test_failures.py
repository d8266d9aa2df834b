"""What fails is said, saved and exported; once the cause is fixed the next update passes."""

from __future__ import annotations

import json
import subprocess
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


def test_a_typo_in_a_manifest_is_refused_before_anything_is_made(checkout: Checkout) -> None:
    checkout.stack(STACK)
    claims = "manifests/module3/10-claims.yaml"
    right = "deviceClassName: gpu.nvidia.com"
    typo = f"{right}\n          colour: red"
    field = "spec.devices.requests[0].exactly.colour"
    told = f"{claims}: ResourceClaim/claim-1: {field}: there is no such field; allowed: adminAccess"

    checkout.edit(claims, right, typo)
    for refused in (checkout.preview(STACK), checkout.up(STACK)):
        assert refused.code != 0
        assert told in refused.text
        assert "Traceback" not in refused.text
    assert not (checkout.folder / ".run").exists()

    checkout.edit(claims, typo, right)
    corrected = checkout.up(STACK)
    assert corrected.code == 0, corrected.text
    assert set(statuses(checkout.outputs(STACK)).values()) == {"passed"}

    checkout.edit(claims, right, typo)
    assert told in checkout.up(STACK).text
    asked = checkout.kubectl(STACK, "create", "--dry-run=server", "--validate=strict", "-f", claims)
    assert f'unknown field "{field}"' in asked.text, "the API server sees it as we do"
    checkout.edit(claims, typo, right)
    assert checkout.preview(STACK, "--expect-no-changes").code == 0
    assert checkout.destroy(STACK).code == 0


def test_a_shell_asks_the_cluster_of_its_stack(checkout: Checkout) -> None:
    """Whatever the person's own kubeconfig names; and SET is written before that."""
    theirs = {"KUBECONFIG": "/production"}
    shell = [".venv/bin/python", "-m", "operations", "shell", "--stack", "module1"]
    checkout.stack("module1")
    none = checkout.run(*shell, **theirs)
    assert none.text == "error: stack module1 has no cluster running; run: make up STACK=module1\n"
    made = checkout.operate("up", "--stack", "module1", "--set", "nodes=2 featureGates=")
    assert made.code == 0, made.text
    asked = subprocess.run(
        shell, input="kubectl get nodes --output name; pulumi stack output status -s module1",
        cwd=checkout.folder, env=checkout.environment() | theirs, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert asked.stdout.split() == ["node/gpu-node-0", "node/gpu-node-1", "passed"], asked.stderr
    assert checkout.operate("destroy", "--stack", "module1").code == 0


def test_a_failed_check_fails_the_update_and_is_exported_until_it_is_fixed(
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

    seen = running.preview(STACK)
    assert seen.code == 0, seen.text
    assert "Pod module3-pod-1 replace" in seen.text, "the next run is made on fresh pods"

    still = running.up(STACK)
    assert still.code != 0, "a failure stays one for as long as its cause is there"

    rewrite_slice(running, brand="Nvidia")
    fixed = running.up(STACK)
    assert fixed.code == 0, fixed.text
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


def test_a_preview_of_a_lab_that_is_down_tells_that_it_will_be_started(running: Checkout) -> None:
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or [""]
        if command[0].startswith(str(running.folder.resolve())):
            process.kill()
    seen = running.preview(STACK)
    assert seen.code == 0, seen.text
    assert "cluster-running update" in seen.text
    assert "Node" not in seen.text, "what is on the cluster is still there"
    assert running.destroy(STACK).code == 0


def test_a_check_whose_program_changed_runs_again_on_fresh_pods(running: Checkout) -> None:
    program = running.folder / "checks" / "modules" / "exclusive.py"
    program.write_text(program.read_text().replace("pod-1 runs", "pod-1 is running"))
    done = running.up(STACK)
    assert done.code == 0, done.text
    titles = [f["title"] for f in running.outputs(STACK)["verification"]["3"]["checks"]]
    assert "pod-1 is running" in titles
    assert running.destroy(STACK).code == 0


def test_another_feature_gate_makes_a_new_cluster_in_one_update(running: Checkout) -> None:
    before = running.outputs(STACK)["cluster"]["cluster_id"]
    running.configure(STACK, "featureGates[0]", "DRAPartitionableDevices=false")
    changed = running.up(STACK)
    assert changed.code == 0, changed.text
    outputs = running.outputs(STACK)
    assert outputs["cluster"]["cluster_id"] != before
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
        ("kubernetesVersion", "1.35.0", "version 1.37.2"),
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
    checkout.configure("module1", "featureGates[0]", "GenericWorkload=true")
    refused = checkout.up("module1")
    assert refused.code != 0
    assert "the scheduler is not ready" in refused.text
    assert "runtimeConfig" in refused.text
    assert checkout.processes() == []
    assert not (checkout.folder / ".run" / "module1").exists()

    checkout.configure("module1", "runtimeConfig[0]", "scheduling.k8s.io/v1beta1=true")
    fixed = checkout.up("module1")
    assert fixed.code == 0, fixed.text
    assert checkout.destroy("module1").code == 0
