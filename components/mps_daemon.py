"""An MPS control daemon that the lab runs itself, as a DaemonSet on the node of the lab's GPU.

NVIDIA's driver runs one for each claim that asks for MPS; the clients of this one have an ordinary
claim for the GPU, and reach it by its pipe directory, which is a volume of their namespace.
"""

import copy
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
    ModuleNamespace,
    add_run,
    claim_for_gpu,
    containers,
    pod_of,
    programs_of,
    set_image,
)
from kube.permissions import Permissions, on, within
from toolchain.mocked_driver.root import STATE

FOLDER = "mps-daemon"
FILES = [PROGRAMS / "mps_daemon.py", PROGRAMS / "hold.py"]
GPU = "MPS_GPU"
PIPE_CLAIM, PIPE_DIRECTORY = "mps", "/mps/pipe"
"""Of the clients: their volume claim, and where they have it."""


def digest() -> str:
    """Changes with what the daemon is made of."""
    return program.digest(MANIFESTS / FOLDER, *FILES)


def needed(clients: Iterable[str]) -> Permissions:
    """What it takes on a cluster of others. clients: the namespaces that get its pipe directory."""
    local, claim = (of_kind("v1", kind) for kind in VOLUMES)
    claims = [each for namespace in clients for each in within(namespace, claim)]
    # A new run changes the DaemonSet, so that its old pod has ended before there is a new one.
    changed = (*on("daemonsets", "patch", group="apps"), *on("pods", "list", "watch"))
    made = permissions(FOLDER, MPS_NAMESPACE, [RUN])
    return (*made, *within(MPS_NAMESPACE, changed), *local, *claims)


class MpsDaemon(pulumi.ComponentResource):
    """The namespace of the daemon, and its claim for the lab's GPU.

    after: what has to have left the GPU before.
    """

    def __init__(
        self, lab: LabContext, *, parent: pulumi.Resource, after: Sequence[pulumi.Resource]
    ) -> None:
        super().__init__(
            "dra-workshop:mps:MpsDaemon", FOLDER, None, pulumi.ResourceOptions(parent=parent)
        )
        self.lab = lab
        self.objects = set_image(load(FOLDER), lab.settings.workload_image)
        namespace = self.objects[f"Namespace/{MPS_NAMESPACE}"]
        namespace["metadata"]["labels"].update(lab.cluster.namespace_labels)
        self.namespace = KubernetesObject(namespace, FOLDER, lab.objects(self, *after))
        self.claim = KubernetesObject(
            claim_for_gpu(self.objects["ResourceClaim/gpu"], lab.target, lab.kind_of_driver),
            f"{FOLDER}-claim",
            lab.objects(self, self.namespace),
        )
        self.register_outputs({})

    def start(
        self, run: Run, *after: pulumi.Resource, name: str, threads: int, memory_mib: int = 0
    ) -> KubernetesObject:
        """A DaemonSet of that name, at work until its pod is released; depend on it for clients.

        run: of the check that looks at its clients: a new run has a new pod. threads: percentage of
        every client; memory_mib: its limit, 0 for none; after: what has to have left the GPU.
        """
        files = programs_of(name, MPS_NAMESPACE, FILES, run=run.id)
        opts = self.lab.objects(self, self.namespace)
        programs = KubernetesObject(files, f"{name}-programs", opts)
        daemon_set = add_run(self.objects["DaemonSet/mps-daemon"], programs.uid, self.claim)
        _rename(daemon_set, name)
        _set_limits(daemon_set, threads, memory_mib)
        _set_gpu(daemon_set, self.lab)
        opts = self.lab.objects(self, self.claim, *after)
        return KubernetesObject(daemon_set, name, opts)


def pipe_volume(namespace: ModuleNamespace) -> list[pulumi.Resource]:
    """The pipe directory, on the node of the GPU, as a volume of the module's namespace."""
    lab, folder = namespace.lab, namespace.folder
    volume = copy.deepcopy(namespace.objects[f"PersistentVolume/{namespace.namespace}-mps"])
    (term,) = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    term["matchExpressions"][0]["values"] = [lab.target_node]
    opts = lab.objects(namespace.component, namespace.made)
    local = KubernetesObject(volume, f"{folder}-mps-volume", opts)
    claim = namespace.objects[f"PersistentVolumeClaim/{PIPE_CLAIM}"]
    opts = lab.objects(namespace.component, namespace.made, local)
    return [local, KubernetesObject(claim, f"{folder}-mps-volume-claim", opts)]


def _rename(daemon_set: Manifest, name: str) -> None:
    """Its pods and its programs have that name too."""
    template, labels = daemon_set["spec"]["template"], {"app": name}
    daemon_set["metadata"]["name"] = name
    daemon_set["spec"]["selector"]["matchLabels"] = template["metadata"]["labels"] = labels
    for volume in template["spec"]["volumes"]:
        if "configMap" in volume:
            volume["configMap"]["name"] = name


def _set_limits(daemon_set: Manifest, threads: int, memory_mib: int) -> None:
    (daemon,) = pod_of(daemon_set)["spec"]["containers"]
    rest = [each for each in daemon["command"] if not each.startswith(("--threads", "--memory"))]
    memory = [f"--memory={memory_mib}M"] if memory_mib else []
    daemon["command"] = [*rest, f"--threads={threads}", *memory]


def _set_gpu(daemon_set: Manifest, lab: LabContext) -> None:
    """Have it run for the lab's GPU, on its node."""
    pod_of(daemon_set)["spec"]["nodeSelector"] = {"kubernetes.io/hostname": lab.target_node}
    for container in containers(daemon_set):
        container["env"] = [
            variable | {"value": lab.target} if variable["name"] == GPU else variable
            for variable in container["env"]
        ]
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
