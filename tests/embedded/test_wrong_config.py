"""What NVIDIA's driver could not read is refused before anything uses it."""

from __future__ import annotations

import json

from tests.checkout import Checkout
from tests.embedded.test_smaller import names

STACK, NAMESPACE = "module4", ("-n", "dra-module4")
CLAIMS = "manifests/module4/10-claims.yaml"
RIGHT, WRONG = "strategy: MPS", "strategy: mps"
WORDS = (
    'admission webhook "gpu.nvidia.com" denied the request: 1 configs failed to validate: object '
    "at spec.devices.config[0].opaque.parameters is invalid: unknown GPU sharing strategy: mps, "
    "supported GPU sharing strategies: TimeSlicing, MPS"
)


def test_a_strategy_in_small_letters_is_refused_and_leaves_cluster_and_driver(
    checkout: Checkout,
) -> None:
    checkout.stack(STACK)
    checkout.edit(CLAIMS, RIGHT, WRONG)
    refused = checkout.operate("up", "--stack", STACK)
    assert refused.code != 0
    assert "Traceback" not in refused.text
    assert "urn:" not in refused.text
    told = f"{CLAIMS}: ResourceClaim/shared: {WORDS}; correct it there, and run this again"
    assert f"did not complete: {told}" in " ".join(refused.text.split())
    (kept,) = (checkout.folder / ".results" / STACK).glob("2*/results.json")
    assert json.loads(kept.read_text())["reason"] == told

    assert names(checkout, STACK, "resourceclaims", *NAMESPACE) == set()
    assert names(checkout, STACK, "pods", *NAMESPACE) == set()
    assert names(checkout, STACK, "nodes") == {"gpu-node-0"}
    assert names(checkout, STACK, "resourceslices") == {"gpu-node-0-gpu.nvidia.com"}
    before = cluster_id(checkout)

    checkout.edit(CLAIMS, WRONG, RIGHT)
    for _ in ("corrected", "unchanged"):
        done = checkout.operate("up", "--stack", STACK)
        assert done.code == 0, done.text
        assert checkout.outputs(STACK)["status"] == "passed"
    assert cluster_id(checkout) == before, "it is still the same cluster"
    assert checkout.preview(STACK, "--expect-no-changes").code == 0

    gone = checkout.operate("destroy", "--stack", STACK)
    assert gone.code == 0, gone.text
    assert "nothing of it is left" in gone.text
    assert checkout.processes() == []


def cluster_id(checkout: Checkout) -> str:
    facts = json.loads((checkout.folder / ".run" / STACK / "cluster.json").read_text())
    return str(facts["cluster_id"])
