"""Removes from a cluster what the configuration does not name any more, before anything is checked.

Pulumi removes it too, but when all else is done: a check would count the GPUs of a node that is to
go, and pods of a module that is to go would hold the GPU for which others wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from kubernetes.client.exceptions import ApiException

from kube.client import ANSWER_SECONDS, Kube, explained
from kube.errors import KubeError
from machine.errors import LabError

SECONDS = 60.0
NOT_FOUND = 404
SIMULATED = "dra-workshop/simulated"
"""Label of the nodes that the lab simulates."""


@dataclass(frozen=True)
class Specification:
    """kubeconfig: its path; nodes: simulated ones that must not be there, with their slices;
    namespaces: of modules that the lab does not have: their pods must not be there; labels: without
    which a namespace is not the lab's."""

    kubeconfig: str
    nodes: list[str]
    namespaces: list[str]
    labels: dict[str, str]


def remove(wanted: Specification) -> list[str]:
    """Remove them, and wait until they are gone; returns what was removed.

    Raises LabError that names what is still there after a minute.
    """
    kube = Kube(wanted.kubeconfig)
    try:
        return [*_pods_of_modules(kube, wanted), *_nodes(kube, wanted.nodes)]
    except KubeError as error:
        raise LabError(f"what the configuration does not name any more: {error}") from error


def _pods_of_modules(kube: Kube, wanted: Specification) -> list[str]:
    removed: list[str] = []
    # Listed, not read one by one: that the lab's user may do, on a cluster of others too.
    listed = kube.get(kube.core.list_namespace).items if wanted.namespaces else []
    there = {item.metadata.name: item for item in listed}
    for name in wanted.namespaces:
        found = there.get(name)
        if found is None or not wanted.labels.items() <= (found.metadata.labels or {}).items():
            continue
        for job in kube.get(kube.batch.list_namespaced_job, namespace=name).items:
            delete = partial(kube.batch.delete_namespaced_job, propagation_policy="Background")
            _if_there(delete, job.metadata.name, name)
        removed += _pods(kube, kube.core.list_namespaced_pod, namespace=name)
    return removed


def _nodes(kube: Kube, names: Sequence[str]) -> list[str]:
    """Pods first, as nobody would end them without their node; its slices before the node, so that
    none is left behind it."""
    selector = f"{SIMULATED}=true"
    listed = kube.get(kube.core.list_node, label_selector=selector).items if names else []
    going = [node.metadata.name for node in listed if node.metadata.name in names]
    for name in going:
        kube.get(kube.core.patch_node, name, {"spec": {"unschedulable": True}})
        of_node = {"field_selector": f"spec.nodeName={name}"}
        _pods(kube, kube.core.list_pod_for_all_namespaces, **of_node)
        for item in kube.get(kube.resource.list_resource_slice, **of_node).items:
            _if_there(kube.resource.delete_resource_slice, item.metadata.name)
        _if_there(kube.core.delete_node, name)
    if going:
        _wait_until_gone(kube, kube.core.list_node, lambda item: item.metadata.name in going)
    return [f"node {name}" for name in going]


def _pods(kube: Kube, lister: Callable[..., Any], **selection: str) -> list[str]:
    """Remove the pods in the selection; those of a DaemonSet would only be made anew."""
    found = [pod for pod in kube.get(lister, **selection).items if not _of_daemon_set(pod)]
    for pod in found:
        metadata = pod.metadata
        _if_there(kube.core.delete_namespaced_pod, metadata.name, metadata.namespace)
    if found:
        _wait_until_gone(kube, lister, lambda pod: not _of_daemon_set(pod), **selection)
    return [f"pod {pod.metadata.namespace}/{pod.metadata.name}" for pod in found]


def _of_daemon_set(pod: Any) -> bool:
    return any(owner.kind == "DaemonSet" for owner in pod.metadata.owner_references or [])


def _if_there(call: Callable[..., Any], *names: str) -> Any:
    """What the API server answers, None if there is no such object, or no more."""
    with explained():
        try:
            return call(*names, _request_timeout=ANSWER_SECONDS)
        except ApiException as error:
            if error.status != NOT_FOUND:
                raise
    return None


def _wait_until_gone(
    kube: Kube, lister: Callable[..., Any], is_meant: Callable[[Any], bool], **selection: str
) -> None:
    """Raises KubeError that names those that are left."""
    listed = kube.wait(lister, lambda items: not any(map(is_meant, items)), SECONDS, **selection)
    if left := [item.metadata.name for item in listed if is_meant(item)]:
        raise KubeError(f"after {SECONDS:.0f} s still there: {', '.join(left)}")
