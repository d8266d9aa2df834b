"""What the workers of a Kind cluster need of this machine's GPUs, for the graph."""

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from machine import docker, gpu_host, kind_node_needs
from machine.errors import LabError

RUNTIME = "nvidia"
RUNTIME_CONFIG = Path("/etc/nvidia-container-runtime/config.toml")
VOLUME_MOUNTS = "accept-nvidia-visible-devices-as-volume-mounts"


def strategy(mounts: str) -> str:
    """How nodes get the driver; auto is what Docker is set up for. Raises DockerError."""
    if mounts != "auto":
        return mounts
    injects = docker.info().get("DefaultRuntime") == RUNTIME and takes_volume_mounts()
    return "toolkit" if injects else "cdi"


def takes_volume_mounts(config: Path = RUNTIME_CONFIG) -> bool:
    """Whether a mount tells NVIDIA's runtime which GPUs to inject."""
    try:
        return bool(tomllib.loads(config.read_text()).get(VOLUME_MOUNTS))
    except (OSError, tomllib.TOMLDecodeError):
        return False


def describe(mounts: str, subsets: Sequence[Sequence[int]]) -> dict[str, Any]:
    """workers: for each its GPUs (UUIDs) and kind_node_needs.NodeNeeds as data; uuids: of all that
    they are given; facts: for the stack's output.

    subsets: indices of GPUs for each worker, [] for one worker with all. Raises LabError as
    gpu_host.described does, and for an unknown index.
    """
    spec = gpu_host.described()
    found = gpu_host.find(spec)
    gpus = gpu_host.gpus(found)
    chosen = strategy(mounts)
    workers = [_worker(spec, gpus, subset, chosen) for subset in subsets or [range(len(gpus))]]
    return {
        "workers": workers,
        "uuids": [uuid for worker in workers for uuid in worker["gpus"]],
        "facts": {
            "kind": "container",
            "gpus": [gpu.facts() for gpu in gpus],
            "driverVersion": found.version,
            "mounts": chosen,
            "notes": sorted({note for worker in workers for note in worker["notes"]}),
        },
    }


def summary(described: Mapping[str, Any]) -> dict[str, Any]:
    """What may be printed of it: `needs` is a digest of what the workers need, which is read again
    where they are made."""
    workers = described["workers"]
    needs = hashlib.sha256(json.dumps(workers, sort_keys=True).encode()).hexdigest()
    return {**described, "workers": brief(workers), "needs": needs}


def brief(workers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each worker its GPUs of this machine only, {} for one without."""
    return [{key: worker[key] for key in ("gpus",) if key in worker} for worker in workers]


def _worker(
    spec: dict[str, Any], gpus: Sequence[gpu_host.Gpu], subset: Sequence[int], chosen: str
) -> dict[str, Any]:
    for index in subset:
        if index >= len(gpus):
            raise LabError(
                f"configuration key 'gpuSubsets': this machine has no GPU {index}",
                f"it has {len(gpus)}, from 0 on",
            )
    some = len(subset) < len(gpus)
    names = tuple(str(index) for index in subset) if some else ()
    needs = kind_node_needs.settled(kind_node_needs.for_node(spec, names, chosen))
    return {"gpus": [gpus[index].uuid for index in subset]} | asdict(needs)


def require_gpus(node: str, uuids: list[str]) -> str:
    """What nvidia-smi says in the node. Raises LabError unless it sees exactly these GPUs."""
    try:
        output = docker.run("exec", node, "nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader")
    except docker.DockerError as error:
        raise LabError(
            f"nvidia-smi does not run in node {node}: {error}",
            "set gpuMounts to the other of toolkit and cdi",
        ) from error
    if sorted(output.split()) != sorted(uuids):
        raise LabError(f"node {node} sees the GPUs {output.split()}, not {uuids}")
    return ", ".join(sorted(uuids))
