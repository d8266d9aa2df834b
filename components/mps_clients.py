"""Clients of MPS: which memory they try to get, and under which limit of their own."""

import copy
from collections.abc import Sequence

from components.manifests import Manifest

MEMORY_LIMIT = "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"


def granted_sizes(limit_mib: int) -> list[int]:
    """Sizes in MiB that a client must get; CUDA's context counts against its limit too."""
    return [max(limit_mib // 4, 1), max(limit_mib // 2, 1)]


def refused_sizes(limit_mib: int) -> list[int]:
    """Sizes in MiB that a client must not get."""
    return [max(limit_mib * 1100 // 1024, limit_mib + 1), limit_mib * 2]


def set_sizes(pod: Manifest, sizes: Sequence[int]) -> Manifest:
    """The pod that tries these sizes, in MiB."""
    changed = copy.deepcopy(pod)
    for container in changed["spec"]["containers"]:
        command = container["command"]
        first = command.index("--allocate") + 1
        last = next(i for i in range(first, len(command)) if command[i].startswith("--"))
        command[first:last] = map(str, sizes)
    return changed


def set_limit(pod: Manifest, limit: str) -> Manifest:
    """The pod whose environment asks MPS for that memory limit."""
    changed = copy.deepcopy(pod)
    for container in changed["spec"]["containers"]:
        for variable in container["env"]:
            if variable["name"] == MEMORY_LIMIT:
                variable["value"] = limit
    return changed
