"""A GPU that somebody else holds is waited for, not for ever, and its holder is named."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes import client

from checks import gpu_holders, release
from checks.release import GAVE_BACK, RELEASE
from checks.result import CheckFailed
from components.simulated_gpus import gpu_uuid
from tests.unit.fake_kube import (
    FORBIDDEN,
    KUBECONFIG,
    FakeKube,
    claim,
    gpu_slice,
    pod,
    running,
)

UUID = gpu_uuid("node", 0)
GIVEN = {"kubeconfig": KUBECONFIG, "driver": "gpu.nvidia.com", "uuid": UUID, "namespace": "lab"} | {
    "pods_in": ["other"],
    "daemons_in": [],
}


@pytest.fixture
def kube(monkeypatch: pytest.MonkeyPatch) -> FakeKube:
    return FakeKube(slices=[gpu_slice("node", gpus=2)]).stand_in(monkeypatch, gpu_holders)


def held(user: str, namespace: str, device: str = "gpu-0") -> Any:
    found = claim("a-claim", ("node", device), users=[user] if user else [])
    found.metadata.namespace = namespace
    return found


def of_the_lab(name: str) -> Any:
    made = pod(name, "Running", on="node")
    run = client.V1EnvVar(name="DRA_WORKSHOP_RUN", value="1")
    made.spec.containers = [client.V1Container(name="c", env=[run])]
    return made


@pytest.mark.parametrize(
    ("claims", "holder"),
    [
        ([held("mine", "default")], "pod default/mine (claim a-claim)"),
        ([held("", "default")], "claim default/a-claim"),
        ([held("mine", "lab")], "pod lab/mine (claim a-claim)"),
    ],
)
def test_who_holds_the_gpu_is_said_at_once_and_at_the_deadline(
    kube: FakeKube, capsys: pytest.CaptureFixture[str], claims: list[Any], holder: str
) -> None:
    kube.claims = claims
    kube.pods = [pod("mine", "Running", on="node")]
    with pytest.raises(CheckFailed) as caught:
        gpu_holders.gate(GIVEN)
    waiting = f"waiting for GPU {UUID}, which is held by {holder}"
    assert str(caught.value) == (
        f"after 60 s still {waiting}; delete what holds it, or set 'target' to another GPU"
    )
    assert capsys.readouterr().err == waiting.replace("for", "60 s at most for") + "\n"


@pytest.mark.parametrize(
    "claims", [[], [held("mine", "default", "gpu-1")], [held("ours", "lab")], [held("", "lab")]]
)
def test_a_gpu_that_is_free_or_held_by_pods_that_are_replaced_is_not_waited_for(
    kube: FakeKube, capsys: pytest.CaptureFixture[str], claims: list[Any]
) -> None:
    kube.claims, kube.pods = claims, [of_the_lab("ours")]
    assert gpu_holders.gate(GIVEN) == "free"
    assert capsys.readouterr().err == ""


def test_pods_that_a_killed_check_left_in_other_modules_are_released(kube: FakeKube) -> None:
    kube.claims, kube.pods = [held("ours", "other")], [of_the_lab("ours")]
    kube.pods[0].metadata.namespace = "other"
    kube.on_patch = lambda _: kube.claims.clear()
    assert gpu_holders.gate(GIVEN) == "free"
    assert RELEASE in kube.pods[0].metadata.annotations


def test_an_mps_daemon_of_the_labs_own_gives_the_gpu_back_first(
    kube: FakeKube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its claim has admin access, and is no holder."""
    daemon = pod("mps-daemon-x2b7k", "Running", on="node")
    daemon.metadata.namespace = "dra-mps"
    daemon.status.container_statuses = [running("daemon")]
    kube.pods = [daemon]

    def log(_namespace: str, _pod: str, container: str | None = None) -> str:
        return GAVE_BACK[container or ""] if daemon.metadata.annotations else "at work"

    monkeypatch.setattr(kube, "log", log)
    assert gpu_holders.gate(GIVEN | {"daemons_in": ["dra-mps"]}) == "free"
    assert RELEASE in daemon.metadata.annotations
    monkeypatch.setattr(kube, "log", lambda *_: "at work")
    monkeypatch.setattr(release, "SECONDS", 0)
    with pytest.raises(CheckFailed, match="at work: mps-daemon-x2b7k"):
        gpu_holders.gate(GIVEN | {"daemons_in": ["dra-mps"]})
    daemon.status.container_statuses[0].state.running = None
    assert gpu_holders.gate(GIVEN | {"daemons_in": ["dra-mps"]}) == "free"


def test_pods_that_wait_for_the_gpu_are_released_before_they_have_it(kube: FakeKube) -> None:
    kube.pods = [of_the_lab("ours"), of_the_lab("ended")]
    kube.pods[0].status.phase, kube.pods[1].status.phase = "Pending", "Succeeded"
    for each in kube.pods:
        each.metadata.namespace = "other"
    assert gpu_holders.gate(GIVEN) == "free"
    assert RELEASE in kube.pods[0].metadata.annotations
    assert not kube.pods[1].metadata.annotations


def test_pods_of_the_users_own_are_never_released(kube: FakeKube) -> None:
    kube.claims, kube.pods = [held("mine", "other")], [pod("mine", "Running", on="node")]
    kube.pods[0].metadata.namespace = "other"
    with pytest.raises(CheckFailed, match="pod other/mine"):
        gpu_holders.gate(GIVEN)
    assert not kube.pods[0].metadata.annotations


def test_a_gpu_that_becomes_free_in_time_is_taken(kube: FakeKube) -> None:
    kube.claims = [held("mine", "default")]
    kube.changes = [kube.claims.clear]
    assert gpu_holders.gate(GIVEN) == "free"


def test_where_claims_of_others_may_not_be_seen_the_gate_is_open(kube: FakeKube) -> None:
    kube.refusals["list_resource_claim_for_all_namespaces"] = FORBIDDEN
    assert gpu_holders.gate(GIVEN) == "claims of others are not visible"
    assert gpu_holders.held_by(kube, "gpu.nvidia.com", UUID) == ""  # type: ignore[arg-type]
