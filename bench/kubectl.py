"""The other side of the comparison: the same objects by kubectl, as a careful person does it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bench import objects
from bench.errors import BenchError
from bench.objects import Layers
from tests.checkout import Checkout

SECONDS = 120
"""For everything that is waited for."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl on one cluster, with a cache of what the cluster serves of its own."""

    checkout: Checkout
    kubeconfig: str
    cache: Path

    def with_cache(self, name: str) -> Kubectl:
        """The same with another cache, beside this one."""
        return replace(self, cache=self.cache.with_name(f"{self.cache.name}-{name}"))

    def __call__(self, *arguments: str) -> str:
        """What kubectl prints; raises BenchError with what it says if it fails."""
        done = subprocess.run(
            ["kubectl", "--kubeconfig", self.kubeconfig, *arguments],
            cwd=self.checkout.folder, check=False, text=True, errors="replace", capture_output=True,
            stdin=subprocess.DEVNULL,
            env=self.checkout.environment() | {"KUBECACHEDIR": str(self.cache)},
        )  # fmt: skip
        if done.returncode:
            raise BenchError(f"kubectl {' '.join(arguments)} failed:\n{done.stderr}")
        return done.stdout


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
            _roll_out(kubectl, one)
    _apply(kubectl, files, "module")
    _wait(kubectl, "Ready", "pod/pod-1", "--namespace", "dra-module3")


def delete(kubectl: Kubectl, files: Files, *names: str) -> None:
    """The layers of these names, in this order, and wait until they are gone."""
    which = [part for name in names for part in ("-f", str(files.path(f"{name}-delete")))]
    kubectl("delete", "--ignore-not-found", f"--timeout={SECONDS}s", *which)


def _apply(kubectl: Kubectl, files: Files, *names: str) -> None:
    which = [part for name in names for part in ("-f", str(files.path(name)))]
    kubectl("apply", "--server-side", *which)


def _wait(kubectl: Kubectl, condition: str, *what: str) -> None:
    kubectl("wait", f"--for=condition={condition}", f"--timeout={SECONDS}s", *what)


def _roll_out(kubectl: Kubectl, one: objects.Object) -> None:
    name, namespace = one["metadata"]["name"], one["metadata"]["namespace"]
    kubectl(
        "rollout", "status", f"{one['kind'].lower()}/{name}", "--namespace", namespace,
        f"--timeout={SECONDS}s",
    )  # fmt: skip


def _uids(kubectl: Kubectl, nodes: list[str]) -> Mapping[str, str]:
    """Name of the node → its uid, which a slice's owner needs."""
    found = json.loads(kubectl("get", "nodes", *nodes, "--output=json"))
    return {one["metadata"]["name"]: one["metadata"]["uid"] for one in found.get("items", [found])}
