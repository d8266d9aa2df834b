"""Module 3: a claim owns its GPU until it lets go; the next claim for it waits, then gets it.

Parameters: kubeconfig, namespace, uuid (the GPU that both claims name), simulated.

The check releases pod-1, so it can look once at a pair of pods; when it has to run again the
update makes a fresh pair first.
"""

from __future__ import annotations

from typing import Any

from checks import devices
from checks.kube import Kube, condition, describe
from checks.result import Checklist, NotSo

SECONDS = 60.0
RELEASE = "dra-workshop/release"
TAKEN = "cannot allocate all claims"
"""How the scheduler's DRA plugin says that no free device fits a claim."""
LOOK = "look at it with: make kubectl ARGS='describe pods,resourceclaims -n NAMESPACE'"


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    scene = Scene(Kube(parameters["kubeconfig"]), parameters["namespace"], parameters["uuid"])
    simulated = parameters["simulated"]
    look = LOOK.replace("NAMESPACE", scene.namespace)
    checklist = Checklist(module)

    def verify(identity: str, title: str, probe: Any, expected: str, *needs: str) -> None:
        checklist.verify(
            identity, title, probe, expected=expected, needs=needs, simulated=simulated, remedy=look
        )

    verify("pod-1-running", "pod-1 runs", lambda: scene.running("pod-1"), "Running")
    verify(
        "claim-1-allocated",
        "its claim has the GPU that it names",
        lambda: scene.allocated("claim-1"),
        scene.uuid,
        "pod-1-running",
    )
    verify(
        "pod-2-unschedulable",
        "pod-2, whose claim names the same GPU, has to wait for it",
        scene.refused,
        f"Unschedulable: {TAKEN}",
        "claim-1-allocated",
    )
    verify(
        "claim-2-unallocated",
        "its claim has no device",
        lambda: scene.unallocated("claim-2"),
        "pending",
        "pod-2-unschedulable",
    )
    verify(
        "pod-1-released",
        "pod-1 ends when it is let go",
        scene.release,
        "Succeeded",
        "claim-2-unallocated",
    )
    verify(
        "hand-over",
        "pod-2 runs as soon as the GPU is free",
        lambda: scene.running("pod-2"),
        "Running",
        "pod-1-released",
    )
    verify(
        "same-device",
        "its claim has the very GPU that pod-1 had",
        lambda: scene.allocated("claim-2"),
        scene.uuid,
        "hand-over",
    )
    verify(
        "claim-1-free",
        "the first claim holds nothing any more",
        lambda: scene.unallocated("claim-1"),
        "pending",
        "hand-over",
    )
    if simulated:
        checklist.skip(
            "device-in-pod",
            "the pod sees exactly the GPU of its claim",
            "needs a GPU: this node is simulated",
            simulated=True,
        )
    return checklist.to_json()


class Scene:
    """Two pods, two claims, one GPU."""

    def __init__(self, kube: Kube, namespace: str, uuid: str) -> None:
        self.kube, self.namespace, self.uuid = kube, namespace, uuid

    def running(self, name: str) -> str:
        pod = self.kube.wait_for_pod(
            self.namespace, name, lambda p: p.status.phase == "Running", SECONDS
        )
        if pod is None or pod.status.phase != "Running":
            raise NotSo(describe(pod))
        return describe(pod)

    def refused(self) -> str:
        def decided(pod: Any) -> bool:
            scheduled = condition(pod, "PodScheduled")
            return scheduled is not None and (
                scheduled.status == "True" or scheduled.reason == "Unschedulable"
            )

        pod = self.kube.wait_for_pod(self.namespace, "pod-2", decided, SECONDS)
        scheduled = condition(pod, "PodScheduled") if pod is not None else None
        if (
            scheduled is None
            or scheduled.reason != "Unschedulable"
            or TAKEN not in (scheduled.message or "")
        ):
            raise NotSo(describe(pod))
        return describe(pod)

    def allocated(self, name: str) -> str:
        claims = self.kube.wait(
            self.kube.resource.list_namespaced_resource_claim,
            lambda found: any(c.status and c.status.allocation for c in found),
            SECONDS,
            namespace=self.namespace,
            field_selector=f"metadata.name={name}",
        )
        known = devices.published(self.kube.get(self.kube.resource.list_resource_slice).items)
        if not claims:
            raise NotSo("no such claim")
        device = devices.allocated(claims[0], known)
        if device.uuid != self.uuid:
            raise NotSo(device.uuid)
        return device.uuid

    def unallocated(self, name: str) -> str:
        def free(found: list[Any]) -> bool:
            return all(not (c.status and c.status.allocation) for c in found)

        claims = self.kube.wait(
            self.kube.resource.list_namespaced_resource_claim,
            free,
            SECONDS,
            namespace=self.namespace,
            field_selector=f"metadata.name={name}",
        )
        if not claims:
            raise NotSo("no such claim")
        if not free(claims):
            results = claims[0].status.allocation.devices.results
            raise NotSo("allocated: " + ", ".join(f"{r.pool}/{r.device}" for r in results))
        return "pending"

    def release(self) -> str:
        patch = {"metadata": {"annotations": {RELEASE: "true"}}}
        self.kube.get(self.kube.core.patch_namespaced_pod, "pod-1", self.namespace, patch)
        pod = self.kube.wait_for_pod(
            self.namespace, "pod-1", lambda p: p.status.phase in ("Succeeded", "Failed"), SECONDS
        )
        if pod is None or pod.status.phase != "Succeeded":
            raise NotSo(describe(pod))
        return "Succeeded"
