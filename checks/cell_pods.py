"""The claims and pods of a cell, which the check makes itself and removes when it has looked.

All have the label dra-workshop/made-by. What a check that was killed left is found by it.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from checks.gpu_holders import RUN
from checks.removal import remove_labelled
from kube.client import Kube
from kube.permissions import DRA, on

PERMISSIONS = (
    *on("pods", "create", "delete", "list", "watch", real=True),
    *on("resourceclaims", "create", "delete", "list", "watch", group=DRA, real=True),
)
"""In the namespace."""
MADE_BY = "dra-workshop/made-by"
Manifest = dict[str, Any]


@dataclass(frozen=True)
class CellPods:
    """owner: the check that makes them; claim, pod: after whose model."""

    kube: Kube
    namespace: str
    owner: str

    @contextmanager
    def made(self, claims: Iterable[Manifest], pods: Iterable[Manifest]) -> Iterator[list[str]]:
        """The names of the pods, while they and their claims are there."""
        self.remove()
        create = self.kube.resource.create_namespaced_resource_claim
        names = []
        try:
            for claim in claims:
                self.kube.get(create, self.namespace, claim)
            for pod in pods:
                self.kube.get(self.kube.core.create_namespaced_pod, self.namespace, pod)
                names.append(pod["metadata"]["name"])
            yield names
        finally:
            self.remove()

    def claim(self, model: Mapping[str, Any], name: str) -> Manifest:
        return self._named(model, name)

    def pod(
        self, model: Mapping[str, Any], name: str, claim: str, options: Sequence[str]
    ) -> Manifest:
        """options: added to the command of its container."""
        made = self._named(model, name)
        for reference in made["spec"]["resourceClaims"]:
            reference["resourceClaimName"] = claim
        for container in made["spec"]["containers"]:
            container["command"] = [*container["command"], *options]
            # Marks pods of the lab's modules (checks/gpu_holders.py).
            container["env"] = [*container.get("env", []), {"name": RUN, "value": self.owner}]
        return made

    def _named(self, model: Mapping[str, Any], name: str) -> Manifest:
        made = copy.deepcopy(dict(model))
        labels = made["metadata"].get("labels", {}) | {MADE_BY: self.owner}
        made["metadata"] = made["metadata"] | {"name": name, "labels": labels}
        return made

    def remove(self) -> None:
        """All that there is, pods first, and wait until it is gone: only then is the GPU free."""
        core, resource = self.kube.core, self.kube.resource
        for lister, delete in (
            (core.list_namespaced_pod, core.delete_namespaced_pod),
            (
                resource.list_namespaced_resource_claim,
                resource.delete_namespaced_resource_claim,
            ),
        ):
            label = f"{MADE_BY}={self.owner}"
            remove_labelled(self.kube, self.namespace, label, lister, delete)
