"""The other side of the comparison: the same objects by kubectl, as a careful person does it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import objects
from bench.objects import Layers
from bench.programs import run
from tests.checkout import Checkout

SECONDS = 120
"""For everything that is waited for."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl on one cluster, with a cache of what the cluster serves of its own."""

    checkout: Checkout
    kubeconfig: str
    cache: Path

    def __call__(self, *arguments: str) -> str:
        """What kubectl prints. Raises BenchError."""
        command = ("kubectl", "--kubeconfig", self.kubeconfig, *arguments)
        return run(self.checkout, *command, KUBECACHEDIR=str(self.cache))


@dataclass(frozen=True)
class Files:
    """The layers as files in a folder: NAME.yaml to apply, NAME-delete.yaml in reverse."""

    layers: Layers
    folder: Path

    def write(self) -> None:
        self.folder.mkdir(exist_ok=True)
        for name, found in self.layers.named():
            self.path(name).write_text(objects.text(found))
            self.path(f"{name}-delete").write_text(objects.text(reversed(found)))

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.yaml"


def apply(kubectl: Kubectl, files: Files) -> None:
    """Everything in order, with the waits that `up` makes too."""
    layers = files.layers
    _apply(kubectl, files, "nodes")
    nodes = [one["metadata"]["name"] for one in layers.nodes if one["kind"] == "Node"]
    _wait(kubectl, "Ready", *(f"node/{name}" for name in nodes))
    driver = objects.owned(layers.driver, _uids(kubectl, nodes))
    files.path("driver").write_text(objects.text(driver))
    _apply(kubectl, files, "driver", "chart")
    for one in layers.chart:
        if one["kind"] in ("DaemonSet", "Deployment"):
            about = one["metadata"]
            what = (f"{one['kind'].lower()}/{about['name']}", "--namespace", about["namespace"])
            kubectl("rollout", "status", *what, f"--timeout={SECONDS}s")
    _apply(kubectl, files, "module")
    _wait(kubectl, "Ready", "pod/pod-1", "--namespace", "dra-module3")


def delete(kubectl: Kubectl, files: Files, *names: str) -> None:
    """The layers of these names, in this order, and wait until they are gone."""
    which = (f"--filename={files.path(f'{name}-delete')}" for name in names)
    kubectl("delete", "--ignore-not-found", f"--timeout={SECONDS}s", *which)


def _apply(kubectl: Kubectl, files: Files, *names: str) -> None:
    kubectl("apply", "--server-side", *(f"--filename={files.path(name)}" for name in names))


def _wait(kubectl: Kubectl, condition: str, *what: str) -> None:
    kubectl("wait", f"--for=condition={condition}", f"--timeout={SECONDS}s", *what)


def _uids(kubectl: Kubectl, nodes: list[str]) -> Mapping[str, str]:
    """Name of the node → its uid, which a slice's owner needs."""
    found = json.loads(kubectl("get", "nodes", *nodes, "--output=json"))
    return {one["metadata"]["name"]: one["metadata"]["uid"] for one in found.get("items", [found])}
