"""What NVIDIA's driver could not read is refused before anything uses it."""

from __future__ import annotations

import json
from typing import Any

from tests.checkout import Checkout
from tests.control_plane import Plane, control_plane
from tests.embedded.test_smaller import names
from tests.opaque_configs import ADMISSION, RIGHT, WRONG, claim

STACK, NAMESPACE = "module4", ("-n", "dra-module4")
CLAIMS = "manifests/module4/10-claims.yaml"
STRATEGY, TYPO = "strategy: MPS", "strategy: mps"
WORDS = (
    'admission webhook "gpu.nvidia.com" denied the request: 1 configs failed to validate: object '
    "at spec.devices.config[0].opaque.parameters is invalid: unknown GPU sharing strategy: mps, "
    "supported GPU sharing strategies: TimeSlicing, MPS"
)


def test_a_strategy_in_small_letters_is_refused_and_leaves_cluster_and_driver(
    checkout: Checkout,
) -> None:
    checkout.stack(STACK)
    checkout.edit(CLAIMS, STRATEGY, TYPO)
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

    checkout.edit(CLAIMS, TYPO, STRATEGY)
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


def test_which_wrong_configurations_the_webhook_refuses(checkout: Checkout) -> None:
    with control_plane(checkout) as plane:
        plane.register_webhook()
        found = {name: refusal(plane, wrong.parameters) for name, wrong in WRONG.items()}
        assert refusal(plane, RIGHT) == ""
    refused = {name: wrong for name, wrong in WRONG.items() if wrong.refused == ADMISSION}
    assert {name for name, words in found.items() if words} == set(refused)
    for name, wrong in refused.items():
        assert 'admission webhook "gpu.nvidia.com" denied the request' in found[name]
        assert wrong.words in found[name]


def refusal(plane: Plane, parameters: dict[str, Any]) -> str:
    """What the API server says to a claim with these, "" if it takes it."""
    given = claim("tried", parameters)
    done = plane.ask("create", "--dry-run=server", "-f", "-", given=given)
    return done.stderr if done.returncode else ""
