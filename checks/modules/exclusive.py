"""Module 3: a claim owns its GPU until its pod is released; the next claim waits, then gets it.

Parameters: kubeconfig, namespace, driver, uuid (the GPU that both claims name), devices (GPU, MOCK
or SIMULATED).

The check releases the pods, so it can look once at them; when it has to run again the update
makes fresh ones first. At the end nothing holds the GPU.
"""

from __future__ import annotations

from typing import Any

from checks import pod_start
from checks.pod_scenario import TAKEN, PodScenario, Verify
from checks.result import CheckFailed, Checklist
from kube.client import Kube
from kube.devices import GPU, MOCK, NO_GPU, SIMULATED
from machine.errors import LabError

PODS = ("pod-1", "pod-2", "unclaimed")
CONTROL_FILES = {"nvidiactl", "nvidia-uvm", "nvidia-uvm-tools"}
"""Of the driver, not of a GPU: every pod with a GPU needs them."""


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    scenario = opened(parameters)
    kind = parameters["devices"]
    checklist = Checklist(module)
    verify = scenario.verifier(checklist, kind != GPU)
    hand_over(scenario, verify)
    if kind == MOCK:
        verify(
            "device-through-cdi",
            "each pod is told of the device of its claim, and of no other, by its CDI spec",
            lambda: same_mock(scenario),
            "the device of its claim",
            "hand-over",
        )
    for identity, title, probe, expected, needs in (
        (
            "device-in-pod",
            "each pod sees exactly the GPU of its claim",
            lambda: same_gpu(scenario),
            f"pod-1 and pod-2: {scenario.uuid}",
            "hand-over",
        ),
        (
            "device-files",
            "each pod has the device file of that GPU and of no other",
            lambda: only_its_files(scenario),
            "nvidiaN of that GPU, " + ", ".join(sorted(CONTROL_FILES)),
            "device-in-pod",
        ),
        (
            "nothing-without-claim",
            "a pod without a claim sees no GPU and no CUDA",
            lambda: sees_nothing(scenario),
            "no device file, no libcuda",
            "pod-1-running",
        ),
    ):
        if kind == GPU:
            verify(identity, title, probe, expected, needs)
        else:
            checklist.skip(identity, title, NO_GPU[kind], simulated=True)
    verify(
        "gpu-free",
        "when the last pod has ended nothing holds the GPU",
        lambda: free(scenario),
        "pending",
        "same-device",
    )
    checklist.benchmarks["pod-start"] = started(scenario, kind)
    return checklist.to_json()


def started(scenario: PodScenario, kind: str) -> dict[str, Any]:
    """How long each pod took to run its program; where one did not, that failed above."""
    if kind == SIMULATED:
        return {"skipped": NO_GPU[SIMULATED]}
    try:
        return pod_start.table(scenario, {name: scenario.said(name) for name in PODS})
    except LabError as error:
        return {"skipped": str(error)}


def release_pods(parameters: dict[str, Any]) -> None:
    """Have the pods end: none of them may keep the GPU."""
    opened(parameters).release_pods(*PODS)


def opened(parameters: dict[str, Any]) -> PodScenario:
    kube = Kube(parameters["kubeconfig"])
    return PodScenario(kube, parameters["namespace"], parameters["uuid"], parameters["driver"])


def hand_over(scenario: PodScenario, verify: Verify) -> None:
    """What the API says, on every node."""
    verify("pod-1-running", "pod-1 runs", lambda: scenario.running("pod-1"), "Running")
    verify(
        "claim-1-allocated",
        "its claim has the GPU that it names",
        lambda: scenario.allocated("claim-1"),
        scenario.uuid,
        "pod-1-running",
    )
    verify(
        "pod-2-unschedulable",
        "pod-2, whose claim names the same GPU, has to wait for it",
        lambda: scenario.refused("pod-2"),
        f"Unschedulable: {TAKEN}",
        "claim-1-allocated",
    )
    verify(
        "claim-2-unallocated",
        "its claim has no device",
        lambda: scenario.unallocated("claim-2"),
        "pending",
        "pod-2-unschedulable",
    )
    release_and_hand_over(scenario, verify)


def release_and_hand_over(scenario: PodScenario, verify: Verify) -> None:
    """What follows when pod-1 is released."""
    verify(
        "pod-1-released",
        "pod-1 ends when it is released",
        lambda: scenario.release("pod-1"),
        "Succeeded",
        "claim-2-unallocated",
    )
    verify(
        "hand-over",
        "pod-2 runs as soon as the GPU is free",
        lambda: scenario.running("pod-2"),
        "Running",
        "pod-1-released",
    )
    verify(
        "same-device",
        "its claim has the very GPU that pod-1 had",
        lambda: scenario.allocated("claim-2"),
        scenario.uuid,
        "hand-over",
    )
    verify(
        "claim-1-free",
        "the first claim holds nothing any more",
        lambda: scenario.unallocated("claim-1"),
        "pending",
        "hand-over",
    )


def free(scenario: PodScenario) -> str:
    scenario.release("pod-2")
    return scenario.unallocated("claim-2")


def same_mock(scenario: PodScenario) -> str:
    """A mock has no device file: its driver puts its name into the container's environment."""
    (wanted,) = (device.name for device in scenario.published() if device.uuid == scenario.uuid)
    scenario.running("unclaimed")
    for name, names in (("pod-1", [wanted]), ("pod-2", [wanted]), ("unclaimed", [])):
        told = scenario.said(name)["mocks"]
        if told != names:
            raise CheckFailed(f"{name}: {', '.join(told) or 'no device'}")
    return f"pod-1 and pod-2: {wanted}, a pod without a claim: none"


def same_gpu(scenario: PodScenario) -> str:
    for name in ("pod-1", "pod-2"):
        told = scenario.said(name)
        found = [gpu["uuid"] for gpu in told["gpus"]]
        if found != [scenario.uuid]:
            why = told.get("error", "")
            raise CheckFailed(f"{name}: {', '.join(found) or 'no GPU'}{why and f' ({why})'}")
    return f"pod-1 and pod-2: {scenario.uuid}"


def only_its_files(scenario: PodScenario) -> str:
    texts = []
    for name in ("pod-1", "pod-2"):
        told = scenario.said(name)
        files = set(told["device_files"])
        wanted = CONTROL_FILES | {f"nvidia{gpu['minor']}" for gpu in told["gpus"]}
        texts.append(f"{name}: {', '.join(sorted(files))}")
        if files != wanted:
            raise CheckFailed(texts[-1])
    return "; ".join(texts)


def sees_nothing(scenario: PodScenario) -> str:
    scenario.running("unclaimed")
    told = scenario.said("unclaimed")
    if told["device_files"] or told["libcuda"]:
        seen = [*told["device_files"], *(["libcuda"] if told["libcuda"] else [])]
        raise CheckFailed(", ".join(seen))
    return "no device file, no libcuda"
