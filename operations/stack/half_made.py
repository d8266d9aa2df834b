"""Takes back what a killed update left on a cluster and the next one would stumble over."""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import yaml
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import NotFoundError, ResourceNotFoundError

from kube.client import Kube, explained
from kube.errors import KubeError
from kube.ownership import RELEASED_IN
from machine import cluster_state, identity
from machine.waiting import until
from operations.common import prefixed
from operations.stack import clusters

GONE_SECONDS = 30
NOT_TAKEN_BACK = "{} of a killed update cannot be taken back"


def running_cluster(stack: str) -> str | None:
    """The kubeconfig of the stack's cluster, restarted if need be; None if there is none. Raises
    LabError if it does not start."""
    facts = identity.facts(stack)
    if not facts or cluster_state.is_being_removed(stack):
        return None
    clusters.revive(stack, facts["cluster_id"])
    return str(facts["kubeconfig"])


def remove_revisions(kubeconfig: str, namespace: str, name: str, *, every: bool) -> int:
    """Remove Helm's records of a release, those of unfinished revisions or every one: else Helm
    refuses to install ("cannot re-use a name") or to upgrade ("another operation is in progress").

    What the release had made stays and is taken over by the next one of its name, as Helm does with
    objects that carry its marks. Returns how many were removed.
    """
    kube = Kube(kubeconfig)
    unfinished = ",status in (pending-install, pending-upgrade, pending-rollback)"
    with prefixed(NOT_TAKEN_BACK.format(f"Helm release {name}")):
        records = _list_records(kube, namespace, name, "" if every else unfinished)
        for record in records:
            kube.get(kube.core.delete_namespaced_secret, record.metadata.name, namespace)
    return len(records)


def remove_released(kubeconfig: str, namespace: str, name: str) -> None:
    """Remove what a half-made release has made outside its namespace, where the cluster does not go
    with it. Helm writes down what it is going to make before it makes it."""
    with prefixed(NOT_TAKEN_BACK.format(f"Helm release {name}")), explained():
        client = _dynamic_client(kubeconfig)
        for record in _list_records(Kube(kubeconfig), namespace, name):
            for item in released(record.data["release"]):
                kind = client.resources.get(api_version=item["apiVersion"], kind=item["kind"])
                if not kind.namespaced:
                    found = _read_metadata(kind, item["metadata"]["name"])
                    if found and dict(found.annotations or {}).get(RELEASED_IN) == namespace:
                        _delete(kind, item["metadata"])


def _list_records(kube: Kube, namespace: str, name: str, more: str = "") -> list[Any]:
    selector, lister = f"owner=helm,name={name}{more}", kube.core.list_namespaced_secret
    return list(kube.get(lister, namespace, label_selector=selector).items)


def released(record: str) -> list[dict[str, Any]]:
    """The objects of a release, out of the record of it in its Secret: Helm's JSON, packed, and
    encoded once by Helm and once by Kubernetes."""
    packed = base64.b64decode(base64.b64decode(record))
    manifest = json.loads(gzip.decompress(packed))["manifest"]
    return [item for item in yaml.safe_load_all(manifest) if item]


def remove_object(kubeconfig: str, given: dict[str, Any]) -> int:
    """Remove an object, told by what Pulumi was given for it, and wait until it is gone.

    Most cannot be turned into fresh ones: a Pod has run, and a field of a ResourceClaim that was
    filled in belongs to an update that is over. Returns how many there were, 0 or 1.
    """
    metadata = given["metadata"]
    what = NOT_TAKEN_BACK.format(f"{given['kind']} {metadata['name']}")
    with prefixed(what), explained():
        try:
            kind = _dynamic_client(kubeconfig).resources.get(
                api_version=given["apiVersion"], kind=given["kind"]
            )
        except ResourceNotFoundError:  # its definition is gone, and all objects with it
            return 0
        if given["kind"] == "Namespace":
            namespace = _read_metadata(kind, metadata["name"])
            # One of somebody else, of the same name, has other labels.
            labels = dict(namespace.labels or {}) if namespace else {}
            if not (metadata.get("labels") or {}).items() <= labels.items():
                return 0
        found = _delete(kind, metadata)
        for attempt in until(GONE_SECONDS, KubeError):
            with attempt:
                if _delete(kind, metadata):
                    raise KubeError(f"it is still there after {GONE_SECONDS} s")
    return found


def _dynamic_client(kubeconfig: str) -> DynamicClient:
    # By default it leaves what it discovered in the system's temporary folder.
    discovered = Path(kubeconfig).with_name("discovery.json")
    return DynamicClient(Kube(kubeconfig).api, cache_file=str(discovered))


def _read_metadata(kind: Any, name: str) -> Any:
    """Of the object that lies in no namespace, None if there is none."""
    try:
        return kind.get(name=name).metadata
    except NotFoundError:
        return None


def _delete(kind: Any, metadata: dict[str, Any]) -> int:
    try:
        kind.delete(name=metadata["name"], namespace=metadata.get("namespace"))
    except NotFoundError:
        return 0
    return 1
