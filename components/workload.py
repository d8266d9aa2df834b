"""What the modules that run pods have in common: claims for one GPU, pods of a run, programs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pulumi

from components import manifests, program
from components.check import Check, CheckArgs
from components.drivers import Driver
from components.lab_context import LabContext, ModuleComponent
from components.modules.registry import Module
from components.runs import Run
from toolchain.images import WORKLOAD_IMAGE

PROGRAMS = Path("workloads")
PODS = ("Job", "Pod")
INSPECT = ("inspect_gpu", "cuda_driver", "hold", "nvml")
BENCHMARK = (
    "gpu_benchmark",
    "cuda_driver",
    "gpu_kernels",
    "gpu_measures",
    "mps_client",
    "nvml",
    "start_barrier",
)
"""Programs with the files that they import, which lie side by side in a pod."""
RUN = ("v1", "ConfigMap")
"""The kind of object that holds them."""


def naming(
    claim: manifests.Manifest, uuid: pulumi.Input[str], driver: Driver
) -> manifests.Manifest:
    """The claim for the GPU with that UUID, which on a real node is known when it is published."""
    named = copy.deepcopy(claim)
    cel = partial(selecting, driver.domain)
    selector = cel(uuid) if isinstance(uuid, str) else pulumi.Output.concat(uuid).apply(cel)
    for request in named["spec"]["devices"]["requests"]:
        request["exactly"]["deviceClassName"] = driver.classes[0]
        request["exactly"]["selectors"] = [{"cel": {"expression": selector}}]
    return named


def selecting(domain: str, uuid: str) -> str:
    """The expression that only the driver's GPU with that UUID meets."""
    return f'device.attributes["{domain}"].uuid == "{uuid}"'


def limited(
    claim: manifests.Manifest, percentage: int, memory: str | None = None
) -> manifests.Manifest:
    """The claim with these limits for every client of MPS. memory: a quantity, such as 1Gi."""
    changed = copy.deepcopy(claim)
    for config in changed["spec"]["devices"]["config"]:
        limits = config["opaque"]["parameters"]["sharing"]["mpsConfig"]
        limits["defaultActiveThreadPercentage"] = percentage
        if memory is not None:
            limits["defaultPinnedDeviceMemoryLimit"] = memory
    return changed


def renamed(manifest: manifests.Manifest, name: str, claim: str) -> manifests.Manifest:
    """The pod or Job under another name, with another claim."""
    changed = copy.deepcopy(manifest)
    changed["metadata"]["name"] = name
    for reference in pod_of(changed)["spec"]["resourceClaims"]:
        reference["resourceClaimName"] = claim
    return changed


def pod_of(manifest: manifests.Manifest) -> manifests.Manifest:
    """The pod itself, or a Job's template of one."""
    pod: manifests.Manifest = (
        manifest["spec"]["template"] if manifest["kind"] == "Job" else manifest
    )
    return pod


def with_image(objects: manifests.Objects, image: str) -> manifests.Objects:
    """The objects with that image in the place of set-up's, which is the one in the files."""
    changed = copy.deepcopy(objects)
    for item in changed.values():
        for container in pod_of(item)["spec"]["containers"] if item["kind"] in PODS else []:
            if container["image"] == WORKLOAD_IMAGE:
                container["image"] = image
    return changed


def in_run(
    manifest: manifests.Manifest, run: pulumi.Input[str], claim: Any = None
) -> manifests.Manifest:
    """The pod, or Job, of a run: a new run makes it anew, as does a new workload program.

    `run` is the uid of the ConfigMap that the pod mounts and that holds the run id. An environment
    variable cannot change in a living pod, so replacing the ConfigMap replaces all its pods, and
    deletes them before it. Its uid is not known before that, so that a preview does not ask the
    API server whether the old pod could be changed into the new one, which it refuses.
    `claim` is the one that it uses: a limit that changes is another claim, and so another pod.
    """
    running = copy.deepcopy(manifest)
    made = {"DRA_WORKSHOP_RUN": run}
    if claim is not None:
        made["DRA_WORKSHOP_CLAIM"] = manifests.uid(claim)
    for container in pod_of(running)["spec"]["containers"]:
        container.setdefault("env", []).extend(
            {"name": name, "value": uid} for name, uid in made.items()
        )
    return running


def unawaited(pod: manifests.Manifest) -> manifests.Manifest:
    """The pod that is meant to wait: Pulumi must not wait with it."""
    waiting = copy.deepcopy(pod)
    waiting["metadata"].setdefault("annotations", {})["pulumi.com/skipAwait"] = "true"
    return waiting


def observed(folder: str, programs: Sequence[str]) -> tuple[Path, ...]:
    """The files whose change asks for a new run: a module's manifests, its pods' programs."""
    return (manifests.MANIFESTS / folder, *(PROGRAMS / f"{name}.py" for name in programs))


def labelled(
    manifest: manifests.Manifest, labels: Mapping[str, pulumi.Input[str]]
) -> manifests.Manifest:
    """The object with these labels too."""
    changed = copy.deepcopy(manifest)
    changed["metadata"].setdefault("labels", {}).update(labels)
    return changed


class ModuleNamespace:
    """How a module whose pods use the GPU begins.

    Its namespace waits for the driver, for those that use the GPU before it, and until nobody
    else holds the GPU. programs: of the pods of each of its checks; runs: that each check
    is in; objects: its manifests; inside: the options of what lies in its namespace.
    """

    def __init__(
        self, lab: LabContext, module: Module, programs: Mapping[str, Sequence[str]]
    ) -> None:
        self.lab, self.module, self.folder = lab, module, module.stack
        (self.namespace,) = module.namespaces
        self.component = ModuleComponent(module)
        self.objects = with_image(manifests.load(self.folder), lab.settings.workload_image)
        self.programs = programs
        self.runs: dict[str, Run] = {
            check: lab.run_of(check, observed(self.folder, programs[check])) for check in programs
        }
        free = self._gpu_free(lab.driver.ready, *lab.gpu_users)
        made = manifests.create(
            labelled(self.objects[f"Namespace/{self.namespace}"], lab.cluster.namespace_labels),
            self.folder,
            lab.objects(self.component, free),
        )
        self.inside = lab.objects(self.component, made)

    def _gpu_free(self, *after: pulumi.Resource) -> pulumi.Resource:
        """A gate that opens when nobody else holds the GPU; it is passed again in each new run."""
        lab = self.lab
        given = {
            "stack": lab.settings.stack,
            "kubeconfig": lab.cluster.kubeconfig,
            "driver": lab.kind_of_driver.domain,
            "uuid": lab.target,
            "namespace": self.namespace,
            "others": [
                namespace
                for each in lab.modules
                for namespace in each.namespaces
                if namespace != self.namespace
            ],
            "runs": [run.id for run in self.runs.values()],
        }
        return program.run(
            f"{self.folder}-gpu-free",
            "checks gate-gpu",
            pulumi.Output.all(**given),
            pulumi.ResourceOptions(parent=self.component, depends_on=list(after)),
        )

    def claim(self, name: str, resource: str) -> Any:
        """The claim of that name for the lab's GPU, as a resource of the other name."""
        claim = naming(
            self.objects[f"ResourceClaim/{name}"], self.lab.target, self.lab.kind_of_driver
        )
        return manifests.create(claim, resource, self.inside)

    def run(
        self,
        check: str,
        parameters: Mapping[str, pulumi.Input[Any]],
        name: str = "workshop",
    ) -> pulumi.Output[str]:
        """The run of the check that looks: the uid of the ConfigMap that holds it.

        Pods mount the ConfigMap, of that name, at /workshop, and find the programs there.
        parameters: of the check, which looks again when they change. It needs fresh pods for that,
        and those that the configuration names no more must be gone.
        """
        programs = self.programs[check]
        files = {f"{each}.py": (PROGRAMS / f"{each}.py").read_text() for each in programs}
        told = {"run": self.runs[check].id, "parameters": program.digest_of_values(parameters)}
        held = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.namespace},
            "data": files | told,
        }
        return manifests.uid(manifests.create(held, f"{self.folder}-{name}", self.inside))

    def verified(
        self, check: str, parameters: Mapping[str, pulumi.Input[Any]], pods: Sequence[Any]
    ) -> Check:
        """The check, which looks at these pods, or Jobs, and then leaves the GPU to others."""
        made = Check(
            CheckArgs(
                run=self.runs[check],
                module=self.module.id,
                parameters=parameters,
                subjects=[manifests.uid(pod) for pod in pods],
                needs=self.lab.needed_by(self.module),
            ),
            pulumi.ResourceOptions(parent=self.component, depends_on=list(pods)),
        )
        self.lab.gpu_users.append(made)
        return made
