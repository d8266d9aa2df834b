"""The stack's objects as a person with kubectl would write them: files in the order of applying."""

from __future__ import annotations

import base64
import copy
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import yaml

Object = dict[str, Any]
KUBERNETES = "kubernetes:"
RELEASE = "kubernetes:helm.sh/v3:Release"


@dataclass(frozen=True)
class Layers:
    """What is applied together, each list in the order of applying.

    nodes: the nodes; driver: the driver's namespace and the slices; chart: what
    the Helm release holds; module: namespace, configuration, claims and pods.
    """

    nodes: list[Object]
    driver: list[Object]
    chart: list[Object]
    module: list[Object]

    def named(self) -> list[tuple[str, list[Object]]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


def of_state(state: Mapping[str, Any]) -> list[Object]:
    """The inputs of every object in an exported stack, in the order in which they were made."""
    return [
        {key: value for key, value in resource["inputs"].items() if not key.startswith("__")}
        for resource in state["deployment"]["resources"]
        if resource["type"].startswith(KUBERNETES) and resource["type"] != RELEASE
    ]


def of_release(secret: Mapping[str, Any]) -> list[Object]:
    """What a Helm release holds, from the Secret in which Helm keeps it."""
    packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
    manifest = json.loads(gzip.decompress(packed))["manifest"]
    return [one for one in yaml.safe_load_all(manifest) if one]


def layers(made: Sequence[Object], chart: Sequence[Object], driver_namespace: str) -> Layers:
    def of_the_driver(one: Object) -> bool:
        if one["kind"] == "Namespace":
            return bool(one["metadata"]["name"] == driver_namespace)
        return bool(one["kind"] == "ResourceSlice")

    nodes = [one for one in made if one["kind"] == "Node"]
    driver = [one for one in made if of_the_driver(one)]
    return Layers(
        nodes=nodes,
        driver=driver,
        chart=list(chart),
        module=[one for one in made if one not in nodes and one not in driver],
    )


def owned(slices: Iterable[Object], uids: Mapping[str, str]) -> list[Object]:
    """The objects with the uids of the nodes of today as their owners'; else they would be
    collected as orphans at once."""
    found = copy.deepcopy(list(slices))
    for one in found:
        for owner in one["metadata"].get("ownerReferences", ()):
            owner["uid"] = uids[owner["name"]]
    return found


def text(objects: Iterable[Object]) -> str:
    return yaml.safe_dump_all(objects, sort_keys=False)
