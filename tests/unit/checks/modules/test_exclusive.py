"""Module 3: each step of the hand-over of a GPU can fail on its own, and says how."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes import client

from checks.modules import exclusive
from components.simulated_gpus import gpu_uuid
from tests.unit.fake_kube import (
    BROKEN,
    BROKEN_TEXT,
    FORBIDDEN,
    FORBIDDEN_TEXT,
    KUBECONFIG,
    NAMESPACE,
    UNREACHABLE,
    UNREACHABLE_TEXT,
    FakeKube,
    claim,
    findings,
    gpu_slice,
    pod,
    statuses,
    unschedulable,
)
from tests.unit.stage import NODE, play

UUID, OTHER_UUID = gpu_uuid(NODE, 0), gpu_uuid(NODE, 1)
TAKEN = "0/1 nodes are available: 1 cannot allocate all claims. still not schedulable"
NO_CPU = "0/1 nodes are available: 1 Insufficient cpu."
PARAMETERS = {
    "kubeconfig": KUBECONFIG,
    "namespace": NAMESPACE,
    "driver": "gpu.nvidia.com",
    "uuid": UUID,
    "devices": "simulated",
}
STEPS = [
    "pod-1-running",
    "claim-1-allocated",
    "pod-2-unschedulable",
    "claim-2-unallocated",
    "pod-1-released",
    "hand-over",
    "same-device",
    "claim-1-free",
]
INSIDE = ["device-in-pod", "device-files", "cdi-spec", "nothing-without-claim"]
LIBRARIES = ["libcuda.so.580.159.04", "libnvidia-ml.so.580.159.04"]
CONTROL_FILES = ["nvidia-uvm", "nvidia-uvm-tools", "nvidiactl"]


def sees(*gpus: str, files: list[str] | None = None, **more: Any) -> str:
    """What workloads/inspect_gpu.py prints in a pod with these GPUs, and hold.py after it."""
    told = {
        "program": "inspect_gpu",
        "device_files": [*CONTROL_FILES, "nvidia2"] if files is None else files,
        "libcuda": True,
        "libraries": LIBRARIES,
        "environment": {"NVIDIA_VISIBLE_DEVICES": "void"},
        "gpus": [{"uuid": uuid, "minor": 2} for uuid in gpus],
    }
    return json.dumps(told | more) + "\nholding\n"


NOTHING = sees(files=[], libcuda=False, libraries=[], error="dlopen: no CUDA driver")


class PodScenario(FakeKube):
    """pod-1 has the GPU and pod-2 waits; what follows after pod-1 is released, in order."""

    def __init__(self) -> None:
        super().__init__(
            pods=[
                pod("pod-1", "Running", on=NODE),
                unschedulable("pod-2", TAKEN),
                pod("unclaimed", "Running", on=NODE),
            ],
            claims=[claim("claim-1", (NODE, "gpu-0")), claim("claim-2")],
            slices=[gpu_slice(NODE, gpus=2)],
            logs={"pod-1": sees(UUID), "pod-2": sees(UUID), "unclaimed": NOTHING},
        )
        self.released: list[str] = []
        self.first_patch: dict[str, str] = {}
        self.on_patch = self.patched
        self.after_release: list[Callable[[], None]] = [
            lambda: self.put(pod("pod-1", "Succeeded", on=NODE)),
            lambda: self.put(claim("claim-2", (NODE, "gpu-0"))),
            lambda: self.put(pod("pod-2", "Running", on=NODE)),
            lambda: self.put(claim("claim-1")),
        ]

    def patched(self, name: str) -> None:
        """pod-1 is the first that is released; pod-2, when it runs, ends with its claim."""
        if not self.released:
            self.first_patch = dict(self.pod_named(name).metadata.annotations)
            self.changes.extend(self.after_release)
        elif name == "pod-2" and self.pod_named(name).status.phase == "Running":
            self.put(pod("pod-2", "Succeeded", on=NODE))
            self.put(claim("claim-2"))
        self.released.append(name)

    def pod_named(self, name: str) -> Any:
        return next(p for p in self.pods if p.metadata.name == name)

    def put(self, item: Any) -> None:
        """The object in place of the one with its name."""
        self.remove(item.metadata.name)
        (self.pods if isinstance(item, client.V1Pod) else self.claims).append(item)

    def remove(self, name: str) -> None:
        self.pods = [p for p in self.pods if p.metadata.name != name]
        self.claims = [c for c in self.claims if c.metadata.name != name]


@pytest.fixture
def scenario(monkeypatch: pytest.MonkeyPatch) -> PodScenario:
    cluster = PodScenario()
    play(cluster, monkeypatch, exclusive)
    return cluster


def run(**changed: Any) -> dict[str, Any]:
    return exclusive.run("3", PARAMETERS | changed)


def assert_only(identity: str, found: str) -> None:
    """All before this step passed; it failed with these words; what needs it is skipped."""
    result = run()
    assert result["status"] == "failed"
    finding = findings(result)[identity]
    assert (finding["status"], finding["found"]) == ("failed", found)
    assert "describe pods,resourceclaims -n lab" in finding["remedy"]
    position = STEPS.index(identity)
    after = {step: statuses(result)[step] for step in STEPS[position + 1 :]}
    assert [statuses(result)[step] for step in STEPS[:position]] == ["passed"] * position
    assert after == {
        step: f"needs {'hand-over' if step == 'claim-1-free' else before}"
        for before, step in zip(STEPS[position:], STEPS[position + 1 :], strict=False)
    }


def test_the_whole_hand_over_passes_step_by_step(scenario: PodScenario) -> None:
    result = run()
    assert (result["module"], result["status"]) == ("3", "passed")
    assert [finding["id"] for finding in result["checks"]] == [*STEPS, *INSIDE, "gpu-free"]
    assert [findings(result)[step]["found"] for step in STEPS] == [
        f"Running on {NODE}",
        UUID,
        f"Pending, Unschedulable: {TAKEN}",
        "pending",
        "Succeeded",
        f"Running on {NODE}",
        UUID,
        "pending",
    ]


def test_on_a_simulated_node_nothing_is_claimed_about_the_inside_of_a_pod(
    scenario: PodScenario,
) -> None:
    scenario.logs.clear()
    result = run()
    told = [statuses(result)[identity] for identity in INSIDE]
    assert told == ["needs a GPU, real or mocked: this node is simulated"] * len(INSIDE)
    not_measured = {"skipped": "needs a GPU: this node is simulated"}
    assert result["benchmarks"]["pod-start"] == not_measured
    assert all(finding["simulated"] for finding in result["checks"])


def mocks(scenario: PodScenario, **told: list[str]) -> None:
    names = {"pod-1": ["gpu-0"], "pod-2": ["gpu-0"], "unclaimed": []} | told
    scenario.logs = {name: sees(files=[], mocks=found) for name, found in names.items()}


def test_with_mock_devices_the_pods_tell_what_their_cdi_specs_gave_them(
    scenario: PodScenario,
) -> None:
    mocks(scenario)
    result = run(devices="mock")
    assert result["status"] == "passed"
    told = findings(result)["device-through-cdi"]["found"]
    assert told == "pod-1 and pod-2: gpu-0, a pod without a claim: none"
    reasons = {statuses(result)[identity] for identity in INSIDE}
    assert reasons == {"needs a GPU, real or mocked: this driver's devices are mocks"}
    assert all(finding["simulated"] for finding in result["checks"])


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({"pod-1": []}, "pod-1: no device"),
        ({"pod-2": ["gpu-1"]}, "pod-2: gpu-1"),
        ({"pod-2": ["gpu-0", "gpu-1"]}, "pod-2: gpu-0, gpu-1"),
        ({"unclaimed": ["gpu-0"]}, "unclaimed: gpu-0"),
    ],
)
def test_a_pod_that_got_another_mock_fails(
    scenario: PodScenario, told: dict[str, list[str]], found: str
) -> None:
    mocks(scenario, **told)
    assert findings(run(devices="mock"))["device-through-cdi"]["found"] == found


@pytest.mark.parametrize(("kind", "basis"), [("gpu", "real"), ("mocked", "mocked")])
def test_with_nvidias_driver_pods_tell_what_they_see(
    scenario: PodScenario, kind: str, basis: str
) -> None:
    result = run(devices=kind)
    assert result["status"] == "passed"
    assert {finding["basis"] for finding in result["checks"]} == {basis}
    assert ("rows" in result["benchmarks"]["pod-start"]) == (basis == "real")
    found = [findings(result)[identity]["found"] for identity in INSIDE]
    files = "nvidia-uvm, nvidia-uvm-tools, nvidia2, nvidiactl"
    brought = ", ".join([*LIBRARIES, "NVIDIA_VISIBLE_DEVICES=void"])
    assert found == [
        f"pod-1 and pod-2: {UUID}",
        f"pod-1: {files}; pod-2: {files}",
        f"pod-1: {brought}; pod-2: {brought}",
        "no device file, no libcuda",
    ]
    if kind == "gpu":
        rows = result["benchmarks"]["pod-start"]["rows"]
        assert [row["pod"] for row in rows] == [*exclusive.HandOver.pods]


@pytest.mark.parametrize(
    ("name", "log", "identity", "found"),
    [
        ("pod-1", sees(OTHER_UUID), "device-in-pod", f"pod-1: {OTHER_UUID}"),
        ("pod-2", sees(UUID, OTHER_UUID), "device-in-pod", f"pod-2: {UUID}, {OTHER_UUID}"),
        ("pod-2", sees(error="dlopen: none"), "device-in-pod", "pod-2: no GPU (dlopen: none)"),
        ("pod-1", "Traceback", "device-in-pod", "pod-1 printed no JSON; its last line: Traceback"),
        (
            "pod-1",
            sees(UUID, files=[*CONTROL_FILES, "nvidia1", "nvidia2"]),
            "device-files",
            "pod-1: nvidia-uvm, nvidia-uvm-tools, nvidia1, nvidia2, nvidiactl",
        ),
        (
            "pod-2",
            sees(UUID, files=[*CONTROL_FILES, "nvidia2", "nvidia-caps"]),
            "device-files",
            "pod-2: nvidia-caps, nvidia-uvm, nvidia-uvm-tools, nvidia2, nvidiactl",
        ),
        ("pod-2", sees(UUID, environment={}), "cdi-spec", f"pod-2: {', '.join(LIBRARIES)}"),
        ("pod-1", sees(UUID, libraries=[]), "cdi-spec", "pod-1: NVIDIA_VISIBLE_DEVICES=void"),
        (
            "unclaimed",
            sees(files=["nvidia0"], libraries=[], libcuda=False),
            "nothing-without-claim",
            "nvidia0",
        ),
        ("unclaimed", sees(files=[], libraries=[]), "nothing-without-claim", "libcuda"),
    ],
)
def test_a_pod_that_sees_too_much_or_too_little_fails(
    scenario: PodScenario, name: str, log: str, identity: str, found: str
) -> None:
    scenario.logs[name] = log
    result = run(devices="gpu")
    finding = findings(result)[identity]
    assert finding["status"] == "failed"
    assert finding["found"].endswith(found)


@pytest.mark.parametrize("kind", ["simulated", "gpu"])
def test_whatever_was_found_no_pod_keeps_the_gpu(scenario: PodScenario, kind: str) -> None:
    scenario.put(pod("pod-1", "Pending"))
    assert run(devices=kind)["status"] == "failed"
    assert scenario.released == ["pod-1", "pod-2", "unclaimed"]
    annotations = scenario.pod_named("pod-2").metadata.annotations
    assert set(annotations) == {"dra-workshop/release", "dra-workshop/start"}


def test_a_check_that_is_not_run_lets_its_pods_go_too(scenario: PodScenario) -> None:
    scenario.remove("unclaimed")
    exclusive.CHECK.release_pods(PARAMETERS)
    assert scenario.released == ["pod-1", "pod-2"]


def test_a_claim_that_outlives_its_pod_fails(scenario: PodScenario) -> None:
    def ended(name: str) -> None:
        scenario.patched(name)
        if scenario.pod_named("pod-2").status.phase == "Succeeded":
            scenario.put(claim("claim-2", (NODE, "gpu-0")))

    scenario.on_patch = ended
    result = run()
    assert findings(result)["gpu-free"]["found"] == f"allocated: {NODE}/gpu-0"


def test_pods_and_claims_may_take_their_time(scenario: PodScenario) -> None:
    pods, claims = scenario.pods, scenario.claims
    scenario.pods, scenario.claims = [], []
    scenario.changes = [
        lambda: scenario.pods.append(pod("pod-1", "Pending")),
        lambda: scenario.put(pods[0]),
        lambda: scenario.claims.extend(claims),
        lambda: scenario.pods.append(pod("pod-2", "Pending")),
        lambda: scenario.put(pods[1]),
    ]
    assert run()["status"] == "passed"


@pytest.mark.parametrize(
    ("late", "found"),
    [
        (pod("pod-1", "Pending"), "Pending"),
        (pod("pod-1", "Pending", on=NODE), f"Pending on {NODE}"),
        (pod("pod-1", "Failed", on=NODE), f"Failed on {NODE}"),
        (unschedulable("pod-1", NO_CPU), f"Pending, Unschedulable: {NO_CPU}"),
    ],
)
def test_pod_1_that_does_not_run_fails_with_its_state(
    scenario: PodScenario, late: Any, found: str
) -> None:
    scenario.put(late)
    assert_only("pod-1-running", found)


def test_pod_1_that_is_not_there_fails(scenario: PodScenario) -> None:
    scenario.remove("pod-1")
    assert_only("pod-1-running", "no such pod")


def test_claim_1_with_another_gpu_fails_and_names_it(scenario: PodScenario) -> None:
    scenario.put(claim("claim-1", (NODE, "gpu-1")))
    assert_only("claim-1-allocated", OTHER_UUID)


def test_claim_1_without_a_gpu_fails(scenario: PodScenario) -> None:
    scenario.put(claim("claim-1"))
    assert_only("claim-1-allocated", "no device")


def test_claim_1_that_is_not_there_fails(scenario: PodScenario) -> None:
    scenario.remove("claim-1")
    assert_only("claim-1-allocated", "no such claim")


def test_claim_1_with_a_gpu_that_nobody_publishes_fails_and_names_it(scenario: PodScenario) -> None:
    scenario.put(claim("claim-1", (NODE, "gpu-7")))
    assert_only("claim-1-allocated", f"{NODE}/gpu-7, which is in no ResourceSlice")


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (unschedulable("pod-2", NO_CPU), f"Pending, Unschedulable: {NO_CPU}"),
        (pod("pod-2", "Running", on=NODE), f"Running on {NODE}"),
        (pod("pod-2", "Pending", on=NODE), f"Pending on {NODE}"),
        (pod("pod-2", "Pending"), "Pending"),
    ],
)
def test_pod_2_that_waits_for_another_reason_or_not_at_all_fails(
    scenario: PodScenario, other: Any, found: str
) -> None:
    scenario.put(other)
    assert_only("pod-2-unschedulable", found)


def test_pod_2_that_is_not_there_fails(scenario: PodScenario) -> None:
    scenario.remove("pod-2")
    assert_only("pod-2-unschedulable", "no such pod")


def test_claim_2_that_has_a_device_already_fails_and_names_it(scenario: PodScenario) -> None:
    scenario.put(claim("claim-2", (NODE, "gpu-1")))
    assert_only("claim-2-unallocated", f"allocated: {NODE}/gpu-1")


def test_claim_2_that_is_not_there_fails(scenario: PodScenario) -> None:
    scenario.remove("claim-2")
    assert_only("claim-2-unallocated", "no such claim")


def test_a_pod_to_which_the_kubelet_does_not_show_its_release_is_told_again(
    scenario: PodScenario,
) -> None:
    patches: list[str] = []

    def second(name: str) -> None:
        patches.append(name)
        if patches != ["pod-1"]:
            scenario.patched(name)

    scenario.on_patch = second
    assert run()["status"] == "passed"
    assert patches[:2] == ["pod-1", "pod-1"]


def test_pod_1_is_let_go_by_its_annotation(scenario: PodScenario) -> None:
    run()
    assert scenario.released[0] == "pod-1"
    assert scenario.first_patch == {"dra-workshop/release": "true"}


def test_pod_1_is_not_let_go_to_see_whether_pod_2_waits_for_another_reason(
    scenario: PodScenario,
) -> None:
    scenario.put(unschedulable("pod-2", NO_CPU))
    run()
    assert "dra-workshop/start" in scenario.first_patch, (
        "all are released, as the check is at its end"
    )


def test_pod_1_that_never_ends_fails(scenario: PodScenario) -> None:
    scenario.after_release.clear()
    assert_only("pod-1-released", f"Running on {NODE}")


def test_pod_1_that_ends_badly_fails(scenario: PodScenario) -> None:
    scenario.after_release[0] = lambda: scenario.put(pod("pod-1", "Failed", on=NODE))
    assert_only("pod-1-released", f"Failed on {NODE}")
    assert scenario.changes, "it was not waited for any longer"


def test_pod_1_that_is_deleted_instead_fails(scenario: PodScenario) -> None:
    scenario.after_release[:] = [lambda: scenario.remove("pod-1")]
    assert_only("pod-1-released", "no such pod")


def test_pod_1_that_must_not_be_let_go_fails(scenario: PodScenario) -> None:
    scenario.refusals["patch_namespaced_pod"] = FORBIDDEN
    assert_only("pod-1-released", FORBIDDEN_TEXT)


def test_pod_2_that_goes_on_waiting_fails_the_hand_over(scenario: PodScenario) -> None:
    del scenario.after_release[1:]
    held = f"GPU {UUID}, which is held by claim lab/claim-1"
    assert_only("hand-over", f"Pending, Unschedulable: {TAKEN}; it waits for {held}")


def test_another_gpu_for_pod_2_fails_and_is_named(scenario: PodScenario) -> None:
    scenario.after_release[1] = lambda: scenario.put(claim("claim-2", (NODE, "gpu-1")))
    result = run()
    assert findings(result)["same-device"]["expected"] == UUID
    assert findings(result)["same-device"]["found"] == OTHER_UUID
    failed = [identity for identity, status in statuses(result).items() if status == "failed"]
    assert failed == ["same-device"], "whether claim-1 is free does not depend on it"


def test_claim_1_that_keeps_its_gpu_fails(scenario: PodScenario) -> None:
    del scenario.after_release[3:]
    assert_only("claim-1-free", f"allocated: {NODE}/gpu-0")


@pytest.mark.parametrize(
    ("call", "identity"),
    [
        ("list_namespaced_pod", "pod-1-running"),
        ("list_namespaced_resource_claim", "claim-1-allocated"),
        ("list_resource_slice", "claim-1-allocated"),
    ],
)
def test_an_api_server_that_answers_with_an_error_fails_the_step(
    scenario: PodScenario, call: str, identity: str
) -> None:
    scenario.refusals[call] = BROKEN
    assert_only(identity, BROKEN_TEXT)


def test_without_an_api_server_nothing_but_the_first_step_is_tried(scenario: PodScenario) -> None:
    scenario.refusals["*"] = UNREACHABLE
    assert_only("pod-1-running", UNREACHABLE_TEXT)


def test_an_api_server_that_dies_half_way_fails_the_step_that_it_was_at(
    scenario: PodScenario,
) -> None:
    scenario.on_patch = lambda _name: scenario.refusals.update({"*": UNREACHABLE})
    assert_only("pod-1-released", UNREACHABLE_TEXT)
