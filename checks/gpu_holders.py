"""Who holds the GPU that a module is about to use, and the gate that waits until nobody does.

Parameters of the gate: kubeconfig, driver, uuid (of the GPU), namespace (of the module, whose own
pods of an earlier run do not count: the update replaces them), pods_in (namespaces of the lab's
modules, this one too, whose pods are released: a check that was killed left those that still run),
daemons_in (those of MPS daemons of the lab's own, which have admin access and so are no holders).
"""

import sys
from collections.abc import Sequence
from typing import Any

from checks.release import release_daemons, release_pods
from checks.result import CheckFailed
from kube import devices, ownership
from kube.client import Kube
from machine.errors import LabError

SECONDS = 60.0
RUN = "DRA_WORKSHOP_RUN"
"""Variable in every pod that the lab makes for a module, and in no other."""
ENDED = ("Succeeded", "Failed")
FORBIDDEN = 403


def gate(parameters: dict[str, Any]) -> str:
    """Wait until the GPU is free; CheckFailed, with who holds it, if that takes too long."""
    kube, uuid = Kube(parameters["kubeconfig"]), parameters["uuid"]
    device = _device(kube, parameters["driver"], uuid)
    if device is None:
        return "free"

    def holding(claims: Sequence[Any]) -> list[str]:
        return holders(kube, claims, device, parameters["namespace"])

    every = kube.resource.list_resource_claim_for_all_namespaces
    try:
        for namespace in parameters["pods_in"]:  # also pods that wait: they would get the GPU next
            release_pods(kube, namespace, sorted(_pods_of_ours(kube, namespace)))
        for namespace in parameters["daemons_in"]:
            release_daemons(kube, namespace)
        held = holding(kube.get(every).items)
        if held:
            sys.stderr.write(f"waiting {SECONDS:.0f} s at most for {_held(uuid, held)}\n")
            sys.stderr.flush()
            held = holding(kube.wait(every, lambda claims: not holding(claims), SECONDS))
    except LabError as error:
        if getattr(error.__cause__, "status", None) == FORBIDDEN:
            return "claims of others are not visible"
        raise
    if held:
        raise CheckFailed(
            f"after {SECONDS:.0f} s still waiting for {_held(uuid, held)}; delete what holds it, "
            "or set 'target' to another GPU"
        )
    return "free"


def held_by(kube: Kube, driver: str, uuid: str) -> str:
    """Who holds the GPU, for a message; "" if nobody does, or nobody can be seen."""
    try:
        device = _device(kube, driver, uuid)
        claims = kube.get(kube.resource.list_resource_claim_for_all_namespaces).items
        held = holders(kube, claims, device) if device else []
    except LabError:
        return ""  # it was asked for an explanation, and has none
    return _held(uuid, held) if held else ""


def holders(kube: Kube, claims: Sequence[Any], device: devices.Device, own: str = "") -> list[str]:
    """The pods, with their claims, that have the device; without those of ours in namespace `own`.

    A claim that no pod uses is named itself: Kubernetes is about to free it.
    """
    holding = set(ownership.holders(claims, device))
    found = []
    for claim in claims:
        namespace, name = claim.metadata.namespace, claim.metadata.name
        if f"{namespace}/{name}" not in holding:
            continue
        users = [user.name for user in claim.status.reserved_for or []]
        ours = _pods_of_ours(kube, namespace) if namespace == own else set()
        found += [f"pod {namespace}/{pod} (claim {name})" for pod in users if pod not in ours]
        if not users and namespace != own:
            found.append(f"claim {namespace}/{name}")
    return found


def _pods_of_ours(kube: Kube, namespace: str) -> set[str]:
    pods = kube.get(kube.core.list_namespaced_pod, namespace=namespace).items
    return {
        pod.metadata.name
        for pod in pods
        if pod.status.phase not in ENDED
        and any(v.name == RUN for c in pod.spec.containers for v in c.env or [])
    }


def _device(kube: Kube, driver: str, uuid: str) -> devices.Device | None:
    return next((d for d in devices.read_published(kube, driver) if d.uuid == uuid), None)


def _held(uuid: str, held: Sequence[str]) -> str:
    return f"GPU {uuid}, which is held by {', '.join(held)}"
