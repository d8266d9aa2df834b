"""Pods and claims in one namespace that a check looks at, and releases when it has seen enough.

What pods say is read from their logs: their programs print a line of JSON.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from checks import gpu_holders
from checks.gpu_holders import ENDED, RELEASE, START
from checks.result import CheckFailed, Checklist
from kube import devices
from kube.client import Kube
from kube.conditions import condition
from kube.permissions import DRA, on
from kube.pods import describe, image_remedy

SECONDS = 60.0
LOOK_SECONDS = 0.5
TAKEN = "cannot allocate all claims"
"""How the scheduler's DRA plugin says that no free device fits a claim."""
PERMISSIONS = (
    *on("pods", "list", "watch", "patch"),
    *on("pods/log", "get", real=True),
    *on("resourceclaims", "list", "watch", group=DRA),
)
"""In the namespace."""


class Verify(Protocol):
    """Verifies one statement about a scene; needs and more: of `Checklist.verify`."""

    def __call__(
        self,
        identity: str,
        title: str,
        probe: Callable[[], str],
        expected: str,
        *needs: str,
        **more: Any,
    ) -> None: ...


class PodScenario:
    """uuid: of the GPU that all claims here name; driver: that published it."""

    def __init__(self, kube: Kube, namespace: str, uuid: str, driver: str = devices.DRIVER) -> None:
        self.kube, self.namespace, self.uuid, self.driver = kube, namespace, uuid, driver

    def verifier(self, checklist: Checklist, simulated: bool) -> Verify:
        """Verifies for the checklist; where no other remedy is given it is to look at the scene."""
        look = f"make kubectl ARGS='describe pods,resourceclaims -n {self.namespace}'"
        common = {"remedy": f"look at it with: {look}", "simulated": simulated}

        def verify(
            identity: str,
            title: str,
            probe: Callable[[], str],
            expected: str,
            *needs: str,
            **more: Any,
        ) -> None:
            given: dict[str, Any] = common | more
            checklist.verify(identity, title, probe, expected=expected, needs=needs, **given)

        return verify

    # --- pods -------------------------------------------------------------------------------------

    def running(self, *names: str) -> str:
        return self.all_in_phase(names, ("Running",))

    def all_in_phase(self, names: Iterable[str], phases: tuple[str, ...]) -> str:
        """Where they are once all are in one of these phases; CheckFailed with the first that is
        not."""
        found: list[str] = []
        for name in names:
            pod = self.kube.wait_for_pod(
                self.namespace, name, lambda p: p.status.phase in (*phases, *ENDED), SECONDS
            )
            if pod is None or pod.status.phase not in phases:
                why = self._standing(pod)
                said = f"{name}: {why}" if found else why
                raise CheckFailed(said, remedy=image_remedy(pod))
            found.append(describe(pod))
        return ", ".join(dict.fromkeys(found))

    def _standing(self, pod: Any) -> str:
        """Where a pod stands that should run, and who holds the GPU if it waits for that."""
        text = describe(pod)
        held = gpu_holders.held_by(self.kube, self.driver, self.uuid) if TAKEN in text else ""
        return f"{text}; it waits for {held}" if held else text

    def refused(self, name: str) -> str:
        """That no node can have the pod because the device of its claim is taken."""

        def decided(pod: Any) -> bool:
            scheduled = condition(pod, "PodScheduled")
            return scheduled is not None and (
                scheduled.status == "True" or scheduled.reason == "Unschedulable"
            )

        pod = self.kube.wait_for_pod(self.namespace, name, decided, SECONDS)
        scheduled = condition(pod, "PodScheduled") if pod is not None else None
        if (
            scheduled is None
            or scheduled.reason != "Unschedulable"
            or TAKEN not in (scheduled.message or "")
        ):
            raise CheckFailed(describe(pod))
        return describe(pod)

    def annotate(self, name: str, annotations: Mapping[str, str]) -> None:
        patch = {"metadata": {"annotations": dict(annotations)}}
        self.kube.get(self.kube.core.patch_namespaced_pod, name, self.namespace, patch)

    def start_together(self, ahead: float, names: Iterable[str]) -> None:
        """Have the pods begin at one moment, so many seconds from now."""
        moment = f"{time.time() + ahead:.3f}"
        for name in names:
            self.annotate(name, {START: moment})

    def release(self, *names: str) -> str:
        """Let the pods go and wait until they have ended well."""
        for name in names:
            self.annotate(name, {RELEASE: "true"})
        for name in names:
            pod = self.kube.wait_for_pod(
                self.namespace, name, lambda p: p.status.phase in ENDED, SECONDS
            )
            if pod is None or pod.status.phase != "Succeeded":
                raise CheckFailed(describe(pod))
        return "Succeeded"

    def end(self, *names: str) -> str:
        """Have the pods end whatever they wait for, and wait until they have ended well."""
        self.release_pods(*names)
        return self.release(*names)

    def release_pods(self, *names: str) -> None:
        """Have the pods end, whatever they are at: those that come after must get the GPU."""
        gpu_holders.release_pods(self.kube, self.namespace, names)

    # --- claims -----------------------------------------------------------------------------------

    def claim(self, name: str, until: Any) -> Any:
        found = self.kube.wait(
            self.kube.resource.list_namespaced_resource_claim,
            lambda claims: any(until(claim) for claim in claims),
            SECONDS,
            what=f"claim {self.namespace}/{name}",
            namespace=self.namespace,
            field_selector=f"metadata.name={name}",
        )
        if not found:
            raise CheckFailed("no such claim")
        return found[0]

    def allocated(self, name: str) -> str:
        """That the claim has the GPU that it names."""
        claim = self.claim(name, has_device)
        device = devices.allocated(claim, self.published())
        if device.uuid != self.uuid:
            raise CheckFailed(device.uuid)
        return device.uuid

    def published(self) -> list[devices.Device]:
        slices = self.kube.get(self.kube.resource.list_resource_slice).items
        return devices.published(slices, self.driver)

    def reserved(self, name: str, pods: Iterable[str]) -> str:
        """That the claim is reserved for these pods and no others."""
        wanted = sorted(pods)

        def users(claim: Any) -> list[str]:
            reserved = claim.status.reserved_for if claim.status else None
            return sorted(f"{user.resource}/{user.name}" for user in reserved or [])

        expected = [f"pods/{name}" for name in wanted]
        claim = self.claim(name, lambda claim: users(claim) == expected)
        if users(claim) != expected:
            raise CheckFailed(", ".join(users(claim)) or "nobody")
        return ", ".join(wanted)

    def unallocated(self, *names: str) -> str:
        for name in names:
            claim = self.claim(name, lambda claim: not has_device(claim))
            if has_device(claim):
                results = claim.status.allocation.devices.results
                raise CheckFailed(
                    "allocated: " + ", ".join(f"{r.pool}/{r.device}" for r in results)
                )
        return "pending"

    # --- what pods say ----------------------------------------------------------------------------

    def said(self, name: str) -> dict[str, Any]:
        """The JSON that the pod's program printed. CheckFailed if it does not come in time."""
        deadline = time.monotonic() + SECONDS
        while True:
            log = self.kube.log(self.namespace, name)
            found = last_json(log)
            if found is not None:
                return found
            if time.monotonic() >= deadline:
                lines = log.strip().splitlines()
                raise CheckFailed(
                    f"{name} printed no JSON; its last line: {lines[-1] if lines else ''}"
                )
            time.sleep(LOOK_SECONDS)


def has_device(claim: Any) -> bool:
    return bool(claim.status and claim.status.allocation)


def last_json(log: str) -> dict[str, Any] | None:
    """The last line that is a JSON object; what else a log holds is for people."""
    for line in reversed(log.splitlines()):
        if line.startswith("{"):
            try:
                found: dict[str, Any] = json.loads(line)
            except ValueError:
                continue
            return found
    return None
