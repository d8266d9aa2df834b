"""What of a lab was deleted or replaced on its cluster behind Pulumi's back.

Pulumi compares the program with its state, not with the cluster. So an update asks the cluster
first: one request for each object that the lab owns, a tenth of a second for all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from machine import identity
from machine.cluster_state import KUBECONFIG, RUN
from machine.errors import LabError
from machine.run import Finished, run_program
from operations.stack.recover import RELEASE
from toolchain.layout import BIN

ANSWER_SECONDS = 20
Item = dict[str, Any]
"""apiVersion, kind, metadata: name, and namespace where it lies in one; of a Helm release also
within: where it lies if that is not told. The provider copies what the chart says, and a chart may
leave a namespace out, or write one on what lies in none."""


def find(stack: str) -> list[str]:
    """The objects of the lab that are gone, or are others than those that it made; [] also where
    there is no cluster, or none that answers: the update tells of that."""
    owned = list(_owned(stack))
    if not owned or not (RUN / stack / KUBECONFIG).exists():
        return []
    there = _uids(stack, [item for item, _ in owned])
    if there is None:
        return []
    return [
        _name(item)
        for item, uid in owned
        if not (found := _uid(item, there)) or uid not in ("", found)
    ]


def restore_released(stack: str) -> None:
    """Make again what a Helm release has lost: Pulumi does not look at its objects.

    Raises LabError if the API server refuses. Where the record of the release is gone too
    there is nothing to do: Pulumi installs it anew.
    """
    for release in _resources(stack):
        if release["type"] == RELEASE:
            items = [item for item, _ in _of_release(release["outputs"])]
            there = _uids(stack, items)
            lost = {_name(i) for i in items if there is not None and not _uid(i, there)}
            if lost:
                _make_again(stack, release["outputs"], lost)


def _make_again(stack: str, release: dict[str, Any], lost: set[str]) -> None:
    from operations.stack import half_made  # it loads the Kubernetes client, which takes a while

    name, namespace = release["name"], release["namespace"]
    selector = f"owner=helm,name={name},status=deployed"
    record = _kubectl(stack, "get", "secrets", "-n", namespace, "-l", selector, "-o", "json")
    for secret in json.loads(record.output or "{}").get("items", []):
        objects = [
            _marked(item, name, namespace)
            for item in half_made.released(secret["data"]["release"])
            if lost & {_name(item), _name(_inside(item, namespace))}
        ]
        done = _kubectl(stack, "create", "-n", namespace, "-f", "-", given=_listed(objects))
        if done.code:
            raise LabError(f"Helm release {name} cannot be restored: {done.errors.strip()}")


def _owned(stack: str) -> Iterator[tuple[Item, str]]:
    """Every object that the state knows, with its uid, "" for those of a Helm release."""
    for resource in _resources(stack):
        outputs = resource.get("outputs") or {}
        if resource["type"] == RELEASE:
            yield from _of_release(outputs)
        elif uid := (outputs.get("metadata") or {}).get("uid"):
            yield outputs, uid


def _of_release(outputs: dict[str, Any]) -> Iterator[tuple[Item, str]]:
    for kind, names in (outputs.get("resourceNames") or {}).items():
        yield from ((_item(kind, name) | {"within": outputs["namespace"]}, "") for name in names)


def _resources(stack: str) -> Iterator[dict[str, Any]]:
    return (r for r in identity.resources(stack) if r["type"].startswith("kubernetes:"))


def _item(kind: str, name: str) -> Item:
    """From how the provider writes it: "Role.rbac.authorization.k8s.io/<apiVersion>", "a/b"."""
    first, _, version = kind.partition("/")
    namespace, _, own = name.rpartition("/")
    metadata = {"name": own} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": version, "kind": first.partition(".")[0], "metadata": metadata}


def _inside(item: Item, namespace: str) -> Item:
    return item | {"metadata": {"namespace": namespace} | item["metadata"]}


def _marked(item: Item, name: str, namespace: str) -> Item:
    """As Helm marks what it makes; an upgrade would refuse an object without that."""
    metadata = item["metadata"]
    labels = {"app.kubernetes.io/managed-by": "Helm"}
    annotations = {"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": namespace}
    return item | {
        "metadata": metadata
        | {"labels": (metadata.get("labels") or {}) | labels}
        | {"annotations": (metadata.get("annotations") or {}) | annotations}
    }


def _name(item: Item) -> str:
    """ "Kind name", with the namespace where the object lies in one."""
    metadata = item["metadata"]
    where = [metadata["namespace"]] if metadata.get("namespace") else []
    return f"{item['kind']} {'/'.join([*where, metadata['name']])}"


def _uid(item: Item, there: dict[str, str]) -> str:
    """Of the object that is there, "" if it is not."""
    outside = item | {"metadata": {"name": item["metadata"]["name"]}}
    return there.get(_name(_placed(item))) or there.get(_name(outside), "")


def _placed(item: Item) -> Item:
    """In its namespace, also where only the release tells that; kubectl looks for what lies in none
    wherever it is said to be."""
    return _inside(item, item["within"]) if "within" in item else item


def _uids(stack: str, items: list[Item]) -> dict[str, str] | None:
    """Those that are there, "Kind name" → uid; None if the API server does not answer."""
    keys = ("name", "namespace")
    asked = [
        {
            "apiVersion": item["apiVersion"],
            "kind": item["kind"],
            "metadata": {key: item["metadata"][key] for key in keys if key in item["metadata"]},
        }
        for item in map(_placed, items)
    ]
    done = _kubectl(
        stack, "get", "--ignore-not-found", "-f", "-", "-o", "json", given=_listed(asked)
    )
    if done.code:
        return None
    found = json.loads(done.output or "{}")
    every = found.get("items", [found] if found else [])
    return {_name(item): item["metadata"]["uid"] for item in every}


def _listed(items: list[Item]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def _kubectl(stack: str, *arguments: str, given: str = "") -> Finished:
    folder = RUN / stack
    return run_program(
        [
            str(BIN / "kubectl"),
            *("--kubeconfig", str(folder / KUBECONFIG), "--cache-dir", str(folder / "kubectl")),
            f"--request-timeout={ANSWER_SECONDS}s",
            *arguments,
        ],
        input=given,
        check=False,
    )
