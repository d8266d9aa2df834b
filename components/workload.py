"""What the modules that run pods have in common: claims for one GPU, pods of a run, programs."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi

from components import program
from components.check import Check, ModuleComponent
from components.drivers import Driver
from components.lab_context import LabContext
from components.manifests import MANIFESTS, KubernetesObject, Manifest, Objects, load
from components.modules.registry import Module
from components.runs import Run
from toolchain.images import WORKLOAD_IMAGE

PROGRAMS = Path("workloads")
PODS = ("DaemonSet", "Job", "Pod")
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
SHARING = ("sharing_client", *BENCHMARK)
"""Programs with the files that they import, which lie side by side in a pod."""
RUN = ("v1", "ConfigMap")
"""The kind of object that holds them."""


def claim_for_gpu(claim: Manifest, uuid: pulumi.Input[str], driver: Driver) -> Manifest:
    """The claim for the GPU with that UUID, which on a real node is known when it is published."""
    named = copy.deepcopy(claim)
    prefix = f'device.attributes["{driver.domain}"].uuid == '
    if isinstance(uuid, str):
        selector: pulumi.Input[str] = f'{prefix}"{uuid}"'
    else:
        selector = pulumi.Output.concat(prefix, '"', uuid, '"')
    for request in named["spec"]["devices"]["requests"]:
        request["exactly"]["deviceClassName"] = driver.classes[0]
        request["exactly"]["selectors"] = [{"cel": {"expression": selector}}]
    return named


def pod_of(manifest: Manifest) -> Manifest:
    """The pod itself, or the template of one."""
    pod: Manifest = manifest if manifest["kind"] == "Pod" else manifest["spec"]["template"]
    return pod


def containers(manifest: Manifest) -> list[Manifest]:
    """Those of the pod, first those that start before the others."""
    spec = pod_of(manifest)["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def set_image(objects: Objects, image: str) -> Objects:
    """The objects, changed to have that image in the place of set-up's, as it is in the files."""
    for item in objects.values():
        for container in containers(item) if item["kind"] in PODS else []:
            if container["image"] == WORKLOAD_IMAGE:
                container["image"] = image
    return objects


def add_run(
    manifest: Manifest, run: pulumi.Input[str], claim: KubernetesObject | None = None
) -> Manifest:
    """The pod, or Job, of a run: a new run makes it anew, as does a new workload program.

    `run` is the uid of the ConfigMap that the pod mounts and that holds the run id. An environment
    variable cannot change in a living pod, so replacing the ConfigMap replaces all its pods, and
    deletes them before it. Its uid is not known before that, so that a preview does not ask the
    API server whether the old pod could be changed into the new one, which it refuses.
    `claim` is the one that it uses: a limit that changes is another claim, and so another pod.
    """
    running = copy.deepcopy(manifest)
    variables = [{"name": "DRA_WORKSHOP_RUN", "value": run}]
    if claim is not None:
        variables.append({"name": "DRA_WORKSHOP_CLAIM", "value": claim.uid})
    for container in containers(running):
        container["env"] = [*container.get("env", []), *variables]
    return running


def programs_of(
    name: str, namespace: str, files: Iterable[Path], **data: pulumi.Input[str]
) -> Manifest:
    """A ConfigMap of that name with the programs, and what else makes its pods anew."""
    texts = {file.name: file.read_text() for file in files}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {**texts, **data},
    }


def skip_await(pod: Manifest) -> Manifest:
    """The pod that is meant to wait: Pulumi must not wait with it."""
    waiting = copy.deepcopy(pod)
    waiting["metadata"].setdefault("annotations", {})["pulumi.com/skipAwait"] = "true"
    return waiting


class ModuleNamespace:
    """How a module whose pods use the GPU begins.

    Its namespace waits for the driver, for those that use the GPU before it, and until nobody
    else holds the GPU. programs: of the pods of each of its checks; runs: that each check
    is in; objects: its manifests; made: the namespace, as a resource.
    """

    def __init__(
        self, lab: LabContext, module: Module, programs: Mapping[str, Sequence[str]]
    ) -> None:
        self.lab, self.folder = lab, module.stack
        (self.namespace,) = module.namespaces
        self.component = ModuleComponent(module, lab.checks)
        self.objects = set_image(load(self.folder), lab.settings.workload_image)
        self.files = {
            check: [PROGRAMS / f"{name}.py" for name in names] for check, names in programs.items()
        }
        self.runs = {check: self.run_of(check) for check in self.files}
        namespace = self.objects[f"Namespace/{self.namespace}"]
        namespace["metadata"].setdefault("labels", {}).update(lab.cluster.namespace_labels)
        free = self._gpu_free(lab.driver.ready, *lab.gpu_users)
        self.made = KubernetesObject(namespace, self.folder, lab.objects(self.component, free))

    def run_of(self, check: str, variant: str = "") -> Run:
        """The run that the check is in; a new one too when its programs or the manifests change."""
        return self.lab.run_of(check, [MANIFESTS / self.folder, *self.files[check]], variant)

    def _gpu_free(self, *after: pulumi.Resource) -> pulumi.Resource:
        """A gate that opens when nobody else holds the GPU; it is passed again in each new run."""
        lab = self.lab
        given = {
            "stack": lab.settings.stack,
            "kubeconfig": lab.cluster.kubeconfig,
            "driver": lab.kind_of_driver.domain,
            "uuid": lab.target,
            "namespace": self.namespace,
            "pods_in": [name for module in lab.modules for name in module.namespaces],
            "daemons_in": lab.mps_namespaces,
            "runs": [run.id for run in self.runs.values()],
        }
        return program.run(
            f"{self.folder}-gpu-free",
            "checks gate-gpu",
            pulumi.Output.all(**given),
            pulumi.ResourceOptions(parent=self.component, depends_on=list(after)),
        )

    def claim(self, claim: Manifest, resource: str, *after: pulumi.Resource) -> KubernetesObject:
        """The claim, for the lab's GPU, as a resource of that name, made after the others."""
        named = claim_for_gpu(claim, self.lab.target, self.lab.kind_of_driver)
        opts = self.lab.objects(self.component, self.made, *after)
        return KubernetesObject(named, resource, opts)


class PodRun:
    """A run of a check that looks at pods: a ConfigMap with their programs, the pods, the check.

    Pods mount the ConfigMap, called `name`, at /workshop. parameters: of the check, which looks
    again when they change. It needs fresh pods for that, and those that the configuration names no
    more must be gone.
    """

    def __init__(
        self, namespace: ModuleNamespace, check: str, name: str = "workshop", **parameters: Any
    ) -> None:
        self.namespace, self.lab = namespace, namespace.lab
        self.run = namespace.runs[check]
        self.pods: list[KubernetesObject] = []
        self.parameters: dict[str, pulumi.Input[Any]] = parameters | {
            "kubeconfig": self.lab.cluster.kubeconfig,
            "namespace": namespace.namespace,
            "uuid": self.lab.target,
        }
        digest = program.digest_of_values(self.parameters)
        files, place = namespace.files[check], namespace.namespace
        config = programs_of(name, place, files, run=self.run.id, parameters=digest)
        opts = self.lab.objects(namespace.component, namespace.made)
        self.programs = KubernetesObject(config, f"{namespace.folder}-{name}", opts)
        self.uid = self.programs.uid

    def start(
        self,
        manifest: Manifest,
        claim: KubernetesObject | None,
        *after: pulumi.Resource,
        minutes: int = 0,
    ) -> KubernetesObject:
        """The pod, or Job, with that claim, made after the other resources.

        minutes: how long Pulumi waits for it, 0 for as long as for any pod.
        """
        opts = self.lab.objects(self.namespace.component, *after)
        if minutes:
            opts.custom_timeouts = pulumi.CustomTimeouts(create=f"{minutes}m")
        name = f"{self.namespace.folder}-{manifest['metadata']['name']}"
        self.pods.append(KubernetesObject(add_run(manifest, self.uid, claim), name, opts))
        return self.pods[-1]

    def verify(self, *after: pulumi.Resource) -> Check:
        """The check, made after the other resources, which looks at the pods and Jobs, and then
        leaves the GPU to others. Where there are none it makes them itself, with the programs."""
        made = Check(
            self.namespace.component,
            run=self.run,
            parameters=self.parameters,
            subjects=[pod.uid for pod in self.pods],
            after=[*(self.pods or [self.programs]), *after],
        )
        self.lab.gpu_users.append(made)
        return made
