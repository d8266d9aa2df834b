"""The configuration from which kind makes a cluster, v1alpha4. Pure: all it needs is given."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import semver
import yaml

from machine.kind_node_parts import Mount

GPU_LABEL = {"nvidia.com/gpu.present": "true"}
"""One of the labels that the chart of NVIDIA's driver asks of a node."""
LISTS_FROM = semver.Version(1, 36, 0)
"""From here on, its candidates included, kind (0.32 and later) writes kubeadm's v1beta4, whose
extraArgs are lists; for older versions v1beta3, where they are maps. A patch of the other version
is not applied."""
RATES = {"kube-api-qps": "200", "kube-api-burst": "400"}
"""Of the controller-manager and the scheduler, whose defaults (20 to 100 a second) make many pods
at once wait for each other."""


@dataclass(frozen=True)
class Wanted:
    """version: of Kubernetes; workers: for each its mounts; gates and runtime_config: "Name=true"
    strings; cgroups: version of this machine's control groups, 1 or 2; mark: path in every node at
    which /dev/null is mounted, so that Docker tells whose it is."""

    name: str
    version: str
    image: str
    workers: Sequence[Sequence[Mount]]
    gates: Sequence[str] = ()
    runtime_config: Sequence[str] = ()
    cgroups: int = 2
    mark: str = ""


def text(wanted: Wanted) -> str:
    return yaml.safe_dump(config(wanted), sort_keys=False)


def config(wanted: Wanted) -> dict[str, Any]:
    """One control plane, and one worker for each entry of `workers`."""
    marks = [Mount("/dev/null", wanted.mark)] if wanted.mark else []
    made: dict[str, Any] = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": wanted.name,
        "kubeadmConfigPatches": [yaml.safe_dump(patch) for patch in _patches(wanted)],
        "nodes": [
            {"role": "control-plane", "image": wanted.image} | _mounted(marks),
            *(
                {"role": "worker", "image": wanted.image, "labels": dict(GPU_LABEL)}
                | _mounted([*marks, *mounts])
                for mounts in wanted.workers
            ),
        ],
    }
    if gates := dict(gate.split("=") for gate in wanted.gates):
        made["featureGates"] = {name: value == "true" for name, value in gates.items()}
    if switches := dict(switch.split("=") for switch in wanted.runtime_config):
        made["runtimeConfig"] = switches
    return made


def _mounted(mounts: Sequence[Mount]) -> dict[str, Any]:
    if not mounts:
        return {}
    return {
        "extraMounts": [
            {"hostPath": mount.host, "containerPath": mount.container}
            | ({"readOnly": True} if mount.read_only else {})
            for mount in mounts
        ]
    }


def _patches(wanted: Wanted) -> list[dict[str, Any]]:
    lists = semver.Version.parse(wanted.version).finalize_version() >= LISTS_FROM
    rates: Any = [{"name": n, "value": v} for n, v in RATES.items()] if lists else dict(RATES)
    patches: list[dict[str, Any]] = [
        {
            "apiVersion": f"kubeadm.k8s.io/{'v1beta4' if lists else 'v1beta3'}",
            "kind": "ClusterConfiguration",
            "controllerManager": {"extraArgs": rates},
            "scheduler": {"extraArgs": rates},
        }
    ]
    if wanted.cgroups == 1:
        # Kubernetes 1.35 and later refuse them unless they are told not to; older ones do not
        # know the field, and their kubelet ignores it with a warning.
        patches.append(
            {
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                "failCgroupV1": False,
            }
        )
    return patches
