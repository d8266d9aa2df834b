"""The stack's objects as a person with kubectl would write them: files in the order of applying."""

from __future__ import annotations

import base64
import copy
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

Object = dict[str, Any]
Layers = dict[str, list[Object]]
"""What is applied together, in the order of applying. nodes: the nodes; driver: the driver's
namespace and the slices; chart: what the Helm release holds; module: namespace, configuration,
claims and pods."""
RELEASE = "kubernetes:helm.sh/v3:Release"


def from_state(state: Mapping[str, Any]) -> list[Object]:
    """The inputs of every object in an exported stack, in the order in which they were made."""
    return [
        {key: value for key, value in resource["inputs"].items() if not key.startswith("__")}
        for resource in state["deployment"]["resources"]
        if resource["type"].startswith("kubernetes:") and resource["type"] != RELEASE
    ]


def from_release(secret: Mapping[str, Any]) -> list[Object]:
    """What a Helm release holds, from the Secret in which Helm keeps it."""
    packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
    manifest = json.loads(gzip.decompress(packed))["manifest"]
    return [one for one in yaml.safe_load_all(manifest) if one]


def split_layers(made: Sequence[Object], chart: Sequence[Object], driver_namespace: str) -> Layers:
    of_kind = {"Node": "nodes", "ResourceSlice": "driver"}
    layers: Layers = {"nodes": [], "driver": [], "chart": list(chart), "module": []}
    for one in made:
        is_drivers = one["kind"] == "Namespace" and one["metadata"]["name"] == driver_namespace
        layers["driver" if is_drivers else of_kind.get(one["kind"], "module")].append(one)
    return layers


def with_owners(slices: Iterable[Object], uids: Mapping[str, str]) -> list[Object]:
    """The objects with the uids of the nodes of today as their owners'; else they would be
    collected as orphans at once."""
    found = copy.deepcopy(list(slices))
    for one in found:
        for owner in one["metadata"].get("ownerReferences", ()):
            owner["uid"] = uids[owner["name"]]
    return found


def to_yaml(objects: Iterable[Object]) -> str:
    return yaml.safe_dump_all(objects, sort_keys=False)
