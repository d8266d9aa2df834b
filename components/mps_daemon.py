"""An MPS control daemon that the lab runs itself, as a DaemonSet on the node of the lab's GPU.

NVIDIA's driver runs one for each claim that asks for MPS; the clients of this one have an ordinary
claim for the GPU, and reach it by its pipe directory, which is a volume of their namespace.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pulumi

from components import program
from components.lab_context import MPS_NAMESPACE, LabContext
from components.manifests import (
    MANIFESTS,
    VOLUMES,
    KubernetesObject,
    Manifest,
    load,
    of_kind,
    permissions,
)
from components.runs import Run
from components.workload import (
    PROGRAMS,
    RUN,
    add_run,
    claim_for_gpu,
    containers,
    pod_of,
    programs_of,
    set_image,
)
from kube.permissions import Permissions, within
from toolchain.mocked_driver.root import STATE

FOLDER = "mps-daemon"
FILES = [PROGRAMS / "mps_daemon.py", PROGRAMS / "hold.py"]
GPU = "MPS_GPU"
THREADS = 50
"""Percentage of every client, as in the manifest."""


def digest() -> str:
    """Changes with what the daemon is made of."""
    return program.digest(MANIFESTS / FOLDER, *FILES)


def needed(clients: Iterable[str]) -> Permissions:
    """What it takes on a cluster of others. clients: the namespaces that get its pipe directory."""
    local, claim = (of_kind("v1", kind) for kind in VOLUMES)
    claims = [each for namespace in clients for each in within(namespace, claim)]
    return (*permissions(FOLDER, MPS_NAMESPACE, [RUN]), *local, *claims)


class MpsDaemon(pulumi.ComponentResource):
    """ready: depend on it for clients.

    run: the one of the check that looks at its clients: a new run has a new pod. memory_mib: the
    limit of every client, 0 for none; after: what has to have left the GPU before.
    """

    def __init__(
        self,
        lab: LabContext,
        *,
        parent: pulumi.Resource,
        run: Run,
        memory_mib: int,
        after: Sequence[pulumi.Resource],
    ) -> None:
        super().__init__(
            "dra-workshop:mps:MpsDaemon", FOLDER, None, pulumi.ResourceOptions(parent=parent)
        )
        objects = set_image(load(FOLDER), lab.settings.workload_image)
        namespace = objects[f"Namespace/{MPS_NAMESPACE}"]
        namespace["metadata"]["labels"].update(lab.cluster.namespace_labels)
        made = KubernetesObject(namespace, FOLDER, lab.objects(self, *after))
        claim = KubernetesObject(
            claim_for_gpu(objects["ResourceClaim/gpu"], lab.target, lab.kind_of_driver),
            f"{FOLDER}-claim",
            lab.objects(self, made),
        )
        files = programs_of("workshop", MPS_NAMESPACE, FILES, run=run.id)
        workshop = KubernetesObject(files, f"{FOLDER}-workshop", lab.objects(self, made))
        daemon_set = add_run(objects["DaemonSet/mps-daemon"], workshop.uid, claim)
        _set_gpu(daemon_set, lab, memory_mib)
        self.ready = KubernetesObject(daemon_set, f"{FOLDER}-daemonset", lab.objects(self, claim))
        self.register_outputs({})


def _set_gpu(daemon_set: Manifest, lab: LabContext, memory_mib: int) -> None:
    """Have it run for the lab's GPU, on its node, with that limit."""
    pod_of(daemon_set)["spec"]["nodeSelector"] = {"kubernetes.io/hostname": lab.target_node}
    for container in containers(daemon_set):
        container["env"] = [
            variable | {"value": lab.target} if variable["name"] == GPU else variable
            for variable in container["env"]
        ]
        limits = [argument for argument in container["command"] if "--memory=" not in argument]
        if limits != container["command"] and memory_mib:
            limits.append(f"--memory={memory_mib}M")
        container["command"] = limits
    if lab.mocked:
        _reach_mocked_state(daemon_set, lab)


def _reach_mocked_state(daemon_set: Manifest, lab: LabContext) -> None:
    """A mocked GPU keeps its compute mode in a file of the driver's root, a real one in itself."""
    root = pulumi.Output.from_input(lab.nodes.driver_root)
    spec = pod_of(daemon_set)["spec"]
    path = root.apply(lambda folder: str(Path(folder or "/", STATE)))
    spec["volumes"] = [*spec["volumes"], {"name": STATE, "hostPath": {"path": path}}]
    for container in containers(daemon_set):
        mount = {"name": STATE, "mountPath": f"/{STATE}"}
        container["volumeMounts"] = [*container["volumeMounts"], mount]
