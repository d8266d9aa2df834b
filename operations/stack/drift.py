"""What of a lab was deleted or replaced on its cluster behind Pulumi's back.

Pulumi compares the program with its state, not with the cluster. So an update asks the cluster
first: one request for each object that the lab owns, a tenth of a second for all of them.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from machine import identity
from machine.cluster_state import KUBECONFIG, RUN
from machine.errors import LabError
from machine.run import Finished, run_program
from operations.stack.engine import RELEASE
from toolchain.layout import BIN

ANSWER_SECONDS = 20
Item = dict[str, Any]
"""An object as a manifest has it: apiVersion, kind, metadata …"""


class Owned(NamedTuple):
    """An object that the state knows: how it is shown, and as kubectl is asked for it. uid: "" for
    one of a Helm release."""

    label: str
    item: Item
    uid: str


def find(stack: str) -> list[str]:
    """The objects of the lab that are gone, or are others than those that it made; [] also where
    there is no cluster, or none that answers: the update tells of that."""
    owned = list(_read_owned(stack))
    if not owned or not (RUN / stack / KUBECONFIG).exists():
        return []
    uids = _read_uids(stack, owned)
    if uids is None:
        return []
    return [
        each.label
        for each in owned
        if not (found := _uid_of(each.item, uids)) or each.uid not in ("", found)
    ]


def restore_released(stack: str) -> None:
    """Make again what a Helm release has lost: Pulumi does not look at its objects, but installs it
    anew where its record is gone too. Raises LabError if the API server refuses."""
    for release in _resources(stack):
        if release["type"] == RELEASE:
            owned = list(_of_release(release["outputs"]))
            uids = _read_uids(stack, owned)
            lost = {o.label for o in owned if uids is not None and not _uid_of(o.item, uids)}
            if lost:
                _make_again(stack, release["outputs"], lost)


def _make_again(stack: str, release: dict[str, Any], lost: set[str]) -> None:
    from operations.stack import half_made  # it loads the Kubernetes client, which takes a while

    name, namespace = release["name"], release["namespace"]
    selector = f"owner=helm,name={name},status=deployed"
    record = _kubectl(stack, "get", "secrets", "-n", namespace, "-l", selector, "-o", "json")
    for secret in json.loads(record.output or "{}").get("items", []):
        objects = [
            _mark(item, name, namespace)
            for item in half_made.released(secret["data"]["release"])
            if lost & {_label_of(item), _label_of(item, namespace)}
        ]
        done = _kubectl(stack, "create", "-n", namespace, "-f", "-", given=_listed(objects))
        if done.code:
            raise LabError(f"Helm release {name} cannot be restored: {done.errors.strip()}")


def _read_owned(stack: str) -> Iterator[Owned]:
    for resource in _resources(stack):
        outputs = resource.get("outputs") or {}
        metadata = outputs.get("metadata") or {}
        if resource["type"] == RELEASE:
            yield from _of_release(outputs)
        elif uid := metadata.get("uid"):
            place = metadata["name"], metadata.get("namespace") or ""
            item = _item(outputs["apiVersion"], outputs["kind"], *place)
            yield Owned(_label(outputs["kind"], *place), item, uid)


def _of_release(outputs: dict[str, Any]) -> Iterator[Owned]:
    """From how the provider writes it: "Role.rbac.authorization.k8s.io/<apiVersion>": ["a/b"].

    It copies what the chart says, and a chart may leave a namespace out, or name one for what lies
    in none. kubectl looks for that wherever it is said to be.
    """
    for key, paths in (outputs.get("resourceNames") or {}).items():
        first, _, version = key.partition("/")
        kind = first.partition(".")[0]
        for path in paths:
            namespace, _, name = path.rpartition("/")
            item = _item(version, kind, name, namespace or outputs["namespace"])
            yield Owned(_label(kind, name, namespace), item, "")


def _resources(stack: str) -> Iterator[dict[str, Any]]:
    return (r for r in identity.resources(stack) if r["type"].startswith("kubernetes:"))


def _mark(item: Item, name: str, namespace: str) -> Item:
    """As Helm marks what it makes; an upgrade would refuse an object without that."""
    metadata = item["metadata"]
    labels = {"app.kubernetes.io/managed-by": "Helm"}
    annotations = {"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": namespace}
    marks = {
        "labels": (metadata.get("labels") or {}) | labels,
        "annotations": (metadata.get("annotations") or {}) | annotations,
    }
    return item | {"metadata": metadata | marks}


def _item(version: str, kind: str, name: str, namespace: str) -> Item:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _label(kind: str, name: str, namespace: str = "") -> str:
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def _label_of(item: Item, default: str = "") -> str:
    metadata = item["metadata"]
    return _label(item["kind"], metadata["name"], metadata.get("namespace") or default)


def _uid_of(item: Item, uids: dict[str, str]) -> str:
    outside = _label(item["kind"], item["metadata"]["name"])
    return uids.get(_label_of(item)) or uids.get(outside, "")


def _read_uids(stack: str, owned: Sequence[Owned]) -> dict[str, str] | None:
    items = _listed(each.item for each in owned)
    done = _kubectl(stack, "get", "--ignore-not-found", "-f", "-", "-o", "json", given=items)
    if done.code:
        return None
    found = json.loads(done.output or "{}")
    return {
        _label_of(item): item["metadata"]["uid"]
        for item in found.get("items", [found] if found else [])
    }


def _listed(items: Iterable[Item]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)})


def _kubectl(stack: str, *arguments: str, given: str = "") -> Finished:
    folder = RUN / stack
    common = ["--kubeconfig", str(folder / KUBECONFIG), "--cache-dir", str(folder / "kubectl")]
    return run_program(
        [str(BIN / "kubectl"), *common, f"--request-timeout={ANSWER_SECONDS}s", *arguments],
        input=given,
        check=False,
    )
