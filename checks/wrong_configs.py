"""Opaque configurations that NVIDIA's driver refuses, tried where they do no harm.

Its admission webhook finds most of them before a claim is stored. The rest, and all where there is
no webhook, the driver's plugin finds when it prepares the claim for a pod, which then never starts.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from checks.pod_scenario import RETRIED
from checks.result import CheckFailed, CheckSkipped
from kube import devices
from kube.client import Kube
from kube.errors import KubeError
from kube.permissions import DRA, on

PERMISSIONS = on("resourceclaims", "create", group=DRA)
"""Of a dry run. What is really made is made on clusters of the lab's own only."""
NAME = "wrong-config"
"""Of the claim and the pod."""
DENIED = f'admission webhook "{devices.DRIVER}" denied the request: '
FAILED = "prepare devices failed: "
"""After these come NVIDIA's words."""
SECONDS = 30.0
AT_ADMISSION = "strategy: mps"
WRONG: Mapping[str, Mapping[str, Any]] = {
    AT_ADMISSION: {"strategy": "mps"},
    "defaultPinnedDeviceMemoryLimit: 512Ki": {
        "strategy": "MPS",
        "mpsConfig": {"defaultPinnedDeviceMemoryLimit": "512Ki"},
    },
}
"""One that the webhook finds; one that only prepare finds, before the driver has done anything.
docs/modules/module4.md has more."""


class WrongConfigs:
    """prepares: whether nodes here prepare claims, and may be given one that they cannot; webhook:
    whether NVIDIA's webhook has to refuse the first of them."""

    def __init__(self, kube: Kube, namespace: str, *, prepares: bool, webhook: bool) -> None:
        self.kube, self.namespace = kube, namespace
        self.prepares, self.webhook = prepares, webhook

    def refused(self, claim: str, pod: str) -> str:
        """Where each was refused, in NVIDIA's words. CheckFailed if one was not. claim, pod: those
        of the module after whose model the wrong ones are made."""
        if self.prepares:
            self.remove()  # of a run that was killed
        found, untried = [], []
        for name, sharing in WRONG.items():
            wrong = self._wrong_claim(claim, sharing)
            if words := self._at_admission(wrong):
                found.append(f"at admission, {name}: {words}")
            elif self.webhook and name == AT_ADMISSION:
                raise CheckFailed(f"NVIDIA's webhook let {name} pass")
            elif self.prepares:
                found.append(f"at prepare, {name}: {self._at_prepare(wrong, pod, name)}")
            else:
                untried.append(name)
        if not found:
            raise CheckSkipped(
                "the cluster has no webhook of NVIDIA's, and no claim is prepared for this"
            )
        if untried:
            found.append(f"found only at prepare, which is not tried here: {', '.join(untried)}")
        return "; ".join(found)

    def remove(self) -> None:
        """Both, and wait until the GPU of the claim is free; nothing there is no error."""
        core, resource = self.kube.core, self.kube.resource
        for delete in (core.delete_namespaced_pod, resource.delete_namespaced_resource_claim):
            with suppress(KubeError):
                self.kube.get(delete, NAME, self.namespace)
        self.kube.wait(
            resource.list_namespaced_resource_claim,
            lambda claims: not claims,
            SECONDS,
            namespace=self.namespace,
            field_selector=f"metadata.name={NAME}",
        )

    def _wrong_claim(self, model: str, sharing: Mapping[str, Any]) -> dict[str, Any]:
        found = self.kube.get(
            self.kube.resource.list_namespaced_resource_claim,
            namespace=self.namespace,
            field_selector=f"metadata.name={model}",
        )
        wrong = self._copy(found.items[0])
        wrong["spec"]["devices"]["config"] = [devices.gpu_config(sharing)]
        return wrong

    def _at_admission(self, claim: dict[str, Any]) -> str:
        """What a webhook says to it, "" if it would be stored."""
        create = self.kube.resource.create_namespaced_resource_claim
        try:
            self.kube.get(create, self.namespace, claim, dry_run="All")
        except KubeError as error:
            if DENIED not in str(error):
                raise
            return str(error).partition(DENIED)[2]
        return ""

    def _at_prepare(self, claim: dict[str, Any], model: str, name: str) -> str:
        pod = self._copy(self.kube.get(self.kube.core.read_namespaced_pod, model, self.namespace))
        pod["spec"] |= {"resourceClaims": [{"name": "gpu", "resourceClaimName": NAME}]}
        # Should this program be killed, the pod releases the GPU all the same.
        pod["spec"]["activeDeadlineSeconds"] = round(SECONDS)
        pod["spec"].pop("nodeName", None)
        with self._made(claim, pod) as uid:
            events = self.kube.wait(
                self.kube.core.list_namespaced_event,
                lambda found: bool(words_of_driver(found, uid)),
                SECONDS,
                namespace=self.namespace,
                field_selector=f"reason={RETRIED}",
            )
        if not (words := words_of_driver(events, uid)):
            raise CheckFailed(f"{name}: no node refused it within {SECONDS:.0f} s")
        return words

    @contextmanager
    def _made(self, claim: dict[str, Any], pod: dict[str, Any]) -> Iterator[str]:
        """The uid of the pod."""
        create = self.kube.resource.create_namespaced_resource_claim
        try:
            self.kube.get(create, self.namespace, claim)
            made = self.kube.get(self.kube.core.create_namespaced_pod, self.namespace, pod)
            yield str(made.metadata.uid)
        finally:
            self.remove()

    def _copy(self, model: Any) -> dict[str, Any]:
        content = self.kube.api.sanitize_for_serialization(model)
        metadata = {"name": NAME, "namespace": self.namespace}
        return {"metadata": metadata, "spec": copy.deepcopy(content["spec"])}


def words_of_driver(events: Iterable[Any], uid: str) -> str:
    """Why it could not prepare the pod with that uid, "" while no event says so."""
    messages = (str(event.message) for event in events if event.involved_object.uid == uid)
    return next((text.rpartition(FAILED)[2] for text in messages if FAILED in text), "")
