"""Takes back what a killed update left on a cluster and the next one would stumble over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from checks.kube import Kube
from checks.result import NotSo
from components.cluster import life
from operations import embedded
from operations.errors import OperationError

GONE_SECONDS = 30


def running_cluster(stack: str) -> str | None:
    """The kubeconfig of the stack's cluster, started again if need be; None if there is none.

    Raises OperationError if it does not start.
    """
    facts = embedded.facts_of(life.RUN / stack)
    if not facts or life.is_being_removed(stack):
        return None
    embedded.revive(stack, facts["incarnation"], life.of(stack))
    return str(facts["kubeconfig"])


def remove_revisions(kubeconfig: str, namespace: str, name: str, *, every: bool) -> int:
    """Remove Helm's records of a release, those of unfinished revisions or every one.

    Else Helm refuses to install ("cannot re-use a name") or to upgrade ("another operation is in
    progress"). What the release had made stays and is taken over by the next one of its name,
    as Helm does with objects that carry its marks. Returns how many were removed.
    """
    kube = Kube(kubeconfig)
    status = "" if every else ",status in (pending-install, pending-upgrade, pending-rollback)"
    selector = f"owner=helm,name={name}{status}"
    with _explained(f"Helm release {name}"):
        found = kube.get(kube.core.list_namespaced_secret, namespace, label_selector=selector).items
        for secret in found:
            kube.get(kube.core.delete_namespaced_secret, secret.metadata.name, namespace)
    return len(found)


def remove_pod(kubeconfig: str, namespace: str, name: str) -> int:
    """Remove a pod and wait until it is gone: one in use cannot be turned into a fresh one.

    Returns how many there were, 0 or 1.
    """
    kube = Kube(kubeconfig)
    only = {"namespace": namespace, "field_selector": f"metadata.name={name}"}
    with _explained(f"pod {name}"):
        found = kube.get(kube.core.list_namespaced_pod, **only).items
        for pod in found:
            kube.get(kube.core.delete_namespaced_pod, pod.metadata.name, namespace)
        if kube.wait(kube.core.list_namespaced_pod, lambda left: not left, GONE_SECONDS, **only):
            raise NotSo(f"it is still there after {GONE_SECONDS} s")
    return len(found)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except NotSo as error:
        raise OperationError(f"{what} of a killed update cannot be taken back: {error}") from error
