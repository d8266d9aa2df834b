"""Takes back what a killed update left on a cluster and the next one would stumble over."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ResourceNotFoundError

from kube.client import Kube, explained
from kube.errors import KubeError
from kube.ownership import RELEASED_IN
from machine import cluster_state, identity
from machine.errors import LabError
from machine.waiting import until
from operations.stack import clusters

GONE_SECONDS = 30
NOT_FOUND = 404


def running_cluster(stack: str) -> str | None:
    """The kubeconfig of the stack's cluster, started again if need be; None if there is none.

    Raises LabError if it does not start.
    """
    facts = identity.facts(stack)
    if not facts or cluster_state.is_being_removed(stack):
        return None
    clusters.revive(stack, facts["cluster_id"])
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


def remove_released(kubeconfig: str, namespace: str, name: str) -> None:
    """Remove what a half-made release has made outside its namespace, where the cluster does not go
    with it. Helm writes down what it is going to make before it makes it."""
    kube = Kube(kubeconfig)
    selector = f"owner=helm,name={name}"
    with _explained(f"Helm release {name}"), explained():
        found = kube.get(kube.core.list_namespaced_secret, namespace, label_selector=selector).items
        client = DynamicClient(
            kube.api, cache_file=str(Path(kubeconfig).with_name("discovery.json"))
        )
        for secret in found:
            for item in released(secret.data["release"]):
                kind = client.resources.get(api_version=item["apiVersion"], kind=item["kind"])
                if not kind.namespaced and _is_of(kind, item, namespace):
                    _delete(kind, item["metadata"])


def released(record: str) -> list[dict[str, Any]]:
    """The objects of a release, out of the record of it in its Secret: Helm's JSON, packed, and
    encoded once by Helm and once by Kubernetes."""
    packed = base64.b64decode(base64.b64decode(record))
    manifest = json.loads(gzip.decompress(packed))["manifest"]
    return [item for item in yaml.safe_load_all(manifest) if item]


def _is_of(kind: Any, item: dict[str, Any], namespace: str) -> bool:
    """Whether the object is there, and of the release in that namespace."""
    try:
        metadata = kind.get(name=item["metadata"]["name"]).metadata
    except ApiException as error:
        if error.status != NOT_FOUND:
            raise
        return False
    return dict(metadata.annotations or {}).get(RELEASED_IN) == namespace


def remove_object(kubeconfig: str, given: dict[str, Any]) -> int:
    """Remove an object, told by what Pulumi was given for it, and wait until it is gone.

    Most cannot be turned into fresh ones: a Pod has run, and a field of a ResourceClaim that was
    filled in belongs to an update that is over. Returns how many there were, 0 or 1.
    """
    # By default the client leaves what it discovered in the system's temporary folder.
    discovered = Path(kubeconfig).with_name("discovery.json")
    with _explained(f"{given['kind']} {given['metadata']['name']}"), explained():
        client = DynamicClient(Kube(kubeconfig).api, cache_file=str(discovered))
        try:
            kind = client.resources.get(api_version=given["apiVersion"], kind=given["kind"])
        except ResourceNotFoundError:  # its definition is gone, and all objects with it
            return 0
        if given["kind"] == "Namespace" and not _is_labelled(kind, given["metadata"]):
            return 0
        found = _delete(kind, given["metadata"])
        _wait_until_gone(kind, given["metadata"])
    return found


def _is_labelled(kind: Any, metadata: dict[str, Any]) -> bool:
    """Whether the namespace has the labels that it was given; a stranger of its name has others."""
    try:
        found = dict(kind.get(name=metadata["name"]).metadata.labels or {})
    except ApiException as error:
        if error.status != NOT_FOUND:
            raise
        return False
    return (metadata.get("labels") or {}).items() <= found.items()


def _wait_until_gone(kind: Any, metadata: dict[str, Any]) -> None:
    """Raises KubeError at the deadline."""
    for attempt in until(GONE_SECONDS, KubeError):
        with attempt:
            if _delete(kind, metadata):
                raise KubeError(f"it is still there after {GONE_SECONDS} s")


def _delete(kind: Any, metadata: dict[str, Any]) -> int:
    """Ask for it to be deleted; 0 if there is no such object, else 1."""
    try:
        kind.delete(name=metadata["name"], namespace=metadata.get("namespace"))
    except ApiException as error:
        if error.status != NOT_FOUND:
            raise
        return 0
    return 1


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except KubeError as error:
        raise LabError(f"{what} of a killed update cannot be taken back: {error}") from error
