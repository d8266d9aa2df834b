"""Removes from a cluster what the configuration does not name any more, before anything is checked.

Pulumi removes it too, but when all else is done: a check would count the GPUs of a node that is to
go, and pods of a module that is to go would hold the GPU for which others wait.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from kubernetes.client.exceptions import ApiException

from kube.client import ANSWER_SECONDS, Kube, explained
from kube.errors import KubeError
from operations.common import prefixed

SECONDS = 60.0
NOT_FOUND = 404
SIMULATED = "dra-workshop/simulated"
"""Label of the nodes that the lab simulates."""


@dataclass(frozen=True)
class Specification:
    """kubeconfig: its path; nodes: simulated ones that must go, with their slices; namespaces: of
    modules whose pods must go; labels: of all namespaces of the lab."""

    kubeconfig: str
    nodes: list[str]
    namespaces: list[str]
    labels: dict[str, str]


def remove(wanted: Specification) -> list[str]:
    """Remove them, and wait until they are gone; returns what was removed. Raises LabError that
    names what is still there after a minute."""
    kube = Kube(wanted.kubeconfig)
    with prefixed("what the configuration does not name any more"):
        return [*_remove_pods_of_modules(kube, wanted), *_remove_nodes(kube, wanted.nodes)]


def _remove_pods_of_modules(kube: Kube, wanted: Specification) -> list[str]:
    removed: list[str] = []
    # Listed, not read one by one: that the lab's user may do, on a cluster of others too.
    listed = kube.get(kube.core.list_namespace).items if wanted.namespaces else []
    labels = {item.metadata.name: item.metadata.labels or {} for item in listed}
    for name in wanted.namespaces:
        if name not in labels or not wanted.labels.items() <= labels[name].items():
            continue
        for job in kube.get(kube.batch.list_namespaced_job, namespace=name).items:
            delete = partial(kube.batch.delete_namespaced_job, propagation_policy="Background")
            _delete(delete, job.metadata.name, name)
        removed += _remove_pods(kube, kube.core.list_namespaced_pod, namespace=name)
    return removed


def _remove_nodes(kube: Kube, names: Sequence[str]) -> list[str]:
    """Pods first, as nobody would end them without their node; its slices before the node, so that
    none is left behind it."""
    selector = f"{SIMULATED}=true"
    listed = kube.get(kube.core.list_node, label_selector=selector).items if names else []
    going = [node.metadata.name for node in listed if node.metadata.name in names]
    for name in going:
        kube.get(kube.core.patch_node, name, {"spec": {"unschedulable": True}})
        of_node = {"field_selector": f"spec.nodeName={name}"}
        _remove_pods(kube, kube.core.list_pod_for_all_namespaces, **of_node)
        for item in kube.get(kube.resource.list_resource_slice, **of_node).items:
            _delete(kube.resource.delete_resource_slice, item.metadata.name)
        _delete(kube.core.delete_node, name)
    if going:
        _wait_until_gone(kube, kube.core.list_node, lambda item: item.metadata.name in going)
    return [f"node {name}" for name in going]


def _remove_pods(kube: Kube, lister: Callable[..., Any], **selection: str) -> list[str]:
    """Remove the pods in the selection, except those that a DaemonSet would only make anew."""
    found = list(filter(_ends, kube.get(lister, **selection).items))
    for pod in found:
        _delete(kube.core.delete_namespaced_pod, pod.metadata.name, pod.metadata.namespace)
    if found:
        _wait_until_gone(kube, lister, _ends, **selection)
    return [f"pod {pod.metadata.namespace}/{pod.metadata.name}" for pod in found]


def _ends(pod: Any) -> bool:
    return all(owner.kind != "DaemonSet" for owner in pod.metadata.owner_references or [])


def _delete(call: Callable[..., Any], *names: str) -> None:
    with explained():
        try:
            call(*names, _request_timeout=ANSWER_SECONDS)
        except ApiException as error:
            if error.status != NOT_FOUND:
                raise


def _wait_until_gone(
    kube: Kube, lister: Callable[..., Any], is_meant: Callable[[Any], bool], **selection: str
) -> None:
    """Raises KubeError that names those that remain."""
    listed = kube.wait(lister, lambda items: not any(map(is_meant, items)), SECONDS, **selection)
    if remaining := [item.metadata.name for item in listed if is_meant(item)]:
        raise KubeError(f"after {SECONDS:.0f} s still there: {', '.join(remaining)}")
