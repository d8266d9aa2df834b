"""What a person does by hand to a lab that runs: it is found, said, and made good again."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.checkout import Checkout, Done
from tests.faults.lab import require_clean_destroy, require_passed, up
from tests.marks import repeat

STACK = "module3"
DRIVER = "dra-driver-nvidia-gpu"
LONGEST = 120
"""Seconds: a wait of a minute and all that is around it, on a busy machine."""


@pytest.fixture
def lab(checkout: Checkout) -> Checkout:
    checkout.stack(STACK)
    require_passed(checkout)
    return checkout


def hold_the_gpu(lab: Checkout) -> None:
    """A pod of the user's own, with a claim of its own for the GPU that the lab uses."""
    made = list(yaml.safe_load_all((lab.folder / "manifests/module3/10-claims.yaml").read_text()))
    claim = made[0]
    claim["metadata"] = {"name": "my-claim", "namespace": "default"}
    container = {"name": "c", "image": "none", "resources": {"claims": [{"name": "gpu"}]}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "mine", "namespace": "default"},
        "spec": {
            "containers": [container],
            "resourceClaims": [{"name": "gpu", "resourceClaimName": "my-claim"}],
        },
    }
    path = lab.folder / "mine.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [claim, pod]}))
    assert lab.kubectl(STACK, "apply", "-f", str(path)).code == 0
    ready = ("wait", "pod/mine", "--for=jsonpath={.status.phase}=Running", "--timeout=30s")
    assert lab.kubectl(STACK, *ready).code == 0


def latest(lab: Checkout) -> dict[str, Any]:
    text = (lab.folder / ".results" / STACK / "latest/results.json").read_text()
    found: dict[str, Any] = json.loads(text)
    return found


def verify(lab: Checkout) -> Done:
    return lab.operate("up", "--stack", STACK, "--verify")


def test_a_pod_of_the_users_own_that_holds_the_gpu_is_named_within_a_minute(lab: Checkout) -> None:
    hold_the_gpu(lab)
    refused = verify(lab)
    assert refused.code != 0
    assert refused.seconds < LONGEST
    held = "which is held by pod default/mine (claim my-claim)"
    assert "waiting 60 s at most for GPU" in refused.text
    assert refused.text.count(held) > 1, "when the wait begins, and when it is over"
    assert f"stack {STACK}: failed" in refused.text
    assert held in latest(lab)["reason"]
    assert lab.outputs(STACK)["status"] == "failed"

    assert lab.kubectl(STACK, "delete", "pod", "mine").code == 0
    require_passed(lab)
    assert latest(lab)["status"] == "passed"
    assert lab.preview(STACK, "--expect-no-changes").code == 0
    require_clean_destroy(lab)


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param(("resourceslices", "--all"), id="slices"),
        repeat(("namespace", "dra-module3"), id="namespace"),
        repeat(("pod", "-n", "dra-module3", "pod-2"), id="pod"),
        repeat(("resourceclaim", "-n", "dra-module3", "claim-1"), id="claim"),
        repeat(("node", "gpu-node-0"), id="node"),
        pytest.param(("deviceclass", "gpu.nvidia.com"), id="class"),
        repeat(("namespace", DRIVER), id="driver"),
    ],
)
def test_what_was_deleted_by_hand_is_made_again_by_the_next_update(
    lab: Checkout, lost: tuple[str, ...]
) -> None:
    assert lab.kubectl(STACK, "delete", *lost).code == 0
    again = up(lab)
    assert again.code == 0, again.text
    assert again.seconds < LONGEST
    assert f"not on the cluster of stack {STACK} any more: " in again.text
    statuses = {r["status"] for r in lab.outputs(STACK)["verification"].values()}
    assert statuses == {"passed"}
    assert lab.preview(STACK, "--expect-no-changes").code == 0
    unchanged = up(lab)
    assert unchanged.code == 0, unchanged.text
    assert "deleted from the cluster" not in unchanged.text
    require_clean_destroy(lab)


def test_a_manifest_for_another_namespace_is_refused_before_anything_is_made(
    checkout: Checkout,
) -> None:
    checkout.stack(STACK)
    checkout.edit("manifests/module3/20-pods.yaml", "namespace: dra-module3", "namespace: default")
    for refused in (checkout.preview(STACK), up(checkout)):
        assert refused.code != 0
        assert (
            "manifests/module3/20-pods.yaml: Pod/pod-1: metadata.namespace: found default, "
            "expected dra-module3"
        ) in refused.text
        assert "Traceback" not in refused.text
    assert not (checkout.folder / ".run").exists()
    require_clean_destroy(checkout)


def test_results_are_never_older_than_the_lab(lab: Checkout) -> None:
    lab.configure(STACK, "featureGates[0]", "NoSuchGate=true")
    for attempt in (up, lambda lab: lab.up(STACK)):
        refused = attempt(lab)
        assert refused.code != 0
        assert "unrecognized feature gate: NoSuchGate" in refused.text
        found = latest(lab)
        assert found["status"] == "failed"
        assert found["verification"]["0"]["status"] == "failed"
        assert list(found["verification"]) == ["0"], "no other module was looked at"
        assert lab.outputs(STACK)["status"] == "failed"
    assert f"stack {STACK}: failed" in lab.operate("results", "--stack", STACK).text

    assert lab.pulumi("config", "rm", "featureGates", "--stack", STACK).code == 0
    assert lab.up(STACK).code == 0, "also without make"
    assert latest(lab)["status"] == "passed"
    assert lab.outputs(STACK)["status"] == "passed"
    assert lab.preview(STACK, "--expect-no-changes").code == 0

    require_clean_destroy(lab)
    assert latest(lab)["status"] == "removed"
    assert latest(lab)["removal"]["status"] == "passed"
    assert f"stack {STACK}: removed" in lab.operate("results", "--stack", STACK).text


def test_a_lab_that_was_removed_without_make_says_so_too(lab: Checkout) -> None:
    assert lab.destroy(STACK).code == 0
    assert latest(lab)["status"] == "removed"
