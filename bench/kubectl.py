"""The other side of the comparison: the same objects by kubectl, as a careful person does it."""

import base64
import copy
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from machine.run import run_program
from tests.checkout import Checkout

STACK = "module3"
KUBECONFIG = Path(".run") / STACK / "kubeconfig"
TIMEOUT = "--timeout=120s"
"""For everything that is waited for."""
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


# --- kubectl ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kubectl:
    """kubectl on the stack's cluster.

    folder: holds the layers as files, NAME.yaml to apply, NAME-delete.yaml in reverse; cache: the
    name in it of kubectl's cache of what the cluster serves.
    """

    checkout: Checkout
    folder: Path
    cache: str

    def __call__(self, *arguments: str) -> str:
        """What kubectl prints. Raises LabError."""
        command = ("kubectl", "--kubeconfig", str(KUBECONFIG), *arguments)
        environment = self.checkout.environment() | {"KUBECACHEDIR": str(self.folder / self.cache)}
        return run_program(command, cwd=self.checkout.folder, env=environment).output

    def write(self, name: str, objects: Iterable[Object]) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / f"{name}.yaml").write_text(to_yaml(objects))

    def apply_files(self, *names: str) -> None:
        self("apply", "--server-side", *self._options(names))

    def apply(self, layers: Layers) -> None:
        """Everything in order, with the waits that `up` makes too."""
        wait_until_ready = ("wait", "--for=condition=Ready", TIMEOUT)
        self.apply_files("nodes")
        nodes = [node["metadata"]["name"] for node in layers["nodes"]]
        self(*wait_until_ready, *(f"node/{name}" for name in nodes))
        found = json.loads(self("get", "nodes", *nodes, "--output=json"))
        listed = [one["metadata"] for one in found.get("items", [found])]
        uids = {metadata["name"]: metadata["uid"] for metadata in listed}
        self.write("driver", with_owners(layers["driver"], uids))
        self.apply_files("driver", "chart")
        for one in layers["chart"]:
            if one["kind"] in ("DaemonSet", "Deployment"):
                name, namespace = one["metadata"]["name"], one["metadata"]["namespace"]
                workload = f"{one['kind'].lower()}/{name}"
                self("rollout", "status", workload, "--namespace", namespace, TIMEOUT)
        self.apply_files("module")
        self(*wait_until_ready, "pod/pod-1", "--namespace", "dra-module3")

    def delete(self, *names: str) -> None:
        """The layers of these names, in this order, and wait until they are gone."""
        files = self._options(f"{name}-delete" for name in names)
        self("delete", "--ignore-not-found", TIMEOUT, *files)

    def _options(self, names: Iterable[str]) -> list[str]:
        return [f"--filename={self.folder / name}.yaml" for name in names]
