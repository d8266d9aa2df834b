"""The objects as kubectl gets them."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import yaml

from bench import kubectl


def resource(kind: str, name: str, type_: str = "kubernetes:x:X", **more: Any) -> dict[str, Any]:
    inputs = {"kind": kind, "metadata": {"name": name}, "__defaults": []} | more
    return {"type": type_, "inputs": inputs}


STATE = {
    "deployment": {
        "resources": [
            resource("Command", "cluster", "command:local:Command"),
            resource("Node", "gpu-node-0"),
            resource("ResourceSlice", "slice"),
            resource("Namespace", "driver"),
            resource("Release", "driver", kubectl.RELEASE),
            resource("Namespace", "dra-module3"),
            resource("Pod", "pod-1"),
        ]
    }
}


def names(found: list[kubectl.Object]) -> list[str]:
    return [one["metadata"]["name"] for one in found]


def test_objects_come_in_the_order_in_which_they_were_made_and_as_they_were_given() -> None:
    found = kubectl.from_state(STATE)
    assert names(found) == ["gpu-node-0", "slice", "driver", "dra-module3", "pod-1"]
    assert set(found[0]) == {"kind", "metadata"}


def test_the_chart_is_what_helm_keeps() -> None:
    manifest = "kind: ServiceAccount\n---\n# nothing\n---\nkind: DaemonSet\n"
    packed = gzip.compress(json.dumps({"manifest": manifest}).encode())
    release = base64.b64encode(base64.b64encode(packed)).decode()
    found = kubectl.from_release({"data": {"release": release}})
    assert found == [{"kind": "ServiceAccount"}, {"kind": "DaemonSet"}]


def test_layers_follow_the_dependencies() -> None:
    chart = [{"kind": "DeviceClass", "metadata": {"name": "gpu"}}]
    found = kubectl.split_layers(kubectl.from_state(STATE), chart, "driver")
    assert {name: names(layer) for name, layer in found.items()} == {
        "nodes": ["gpu-node-0"],
        "driver": ["slice", "driver"],
        "chart": ["gpu"],
        "module": ["dra-module3", "pod-1"],
    }


def test_a_slice_belongs_to_the_node_of_today() -> None:
    owner = {"kind": "Node", "name": "gpu-node-0", "uid": "old"}
    slice_ = {"kind": "ResourceSlice", "metadata": {"name": "s", "ownerReferences": [owner]}}
    namespace = {"kind": "Namespace", "metadata": {"name": "n"}}
    found = kubectl.with_owners([slice_, namespace], {"gpu-node-0": "new"})
    assert found[0]["metadata"]["ownerReferences"][0]["uid"] == "new"
    assert found[1] == namespace
    assert owner["uid"] == "old", "the given objects stay as they are"


def test_text_is_yaml_for_kubectl() -> None:
    found = kubectl.from_state(STATE)
    assert list(yaml.safe_load_all(kubectl.to_yaml(reversed(found)))) == found[::-1]
