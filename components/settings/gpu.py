"""Settings of the GPUs."""

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

from components.settings.parsers import count, listed, matching, one_of, strings
from components.settings.setting import NotAllowed, setting
from components.simulated_gpus import GPU_PROFILES, GpuProfile

GPUS = ("real", "mocked")
MOUNTS = ("auto", "toolkit", "cdi")
MOST_GPUS = 16
GPU_UUID = re.compile(r"(GPU|gpu)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""dra-example-driver writes its own with small letters."""
SUBSET = re.compile(r"[0-9]{1,3}(\+[0-9]{1,3})*")


def _gpus(value: str, before: Any) -> str:
    found = one_of(GPUS, value)
    if found == "mocked" and before.node != "host" and before.cluster != "kind":
        raise NotAllowed(value, "mocked is for node=host and cluster=kind")
    return found


def _profile(value: str, _: Any) -> GpuProfile:
    return GPU_PROFILES[one_of(GPU_PROFILES, value)]


def _target(value: str, _: Any) -> str:
    return value and matching(GPU_UUID, "the UUID of a GPU, as nvidia-smi -L prints it", value)


def _subsets(value: str, _: Any) -> tuple[tuple[int, ...], ...]:
    allowed = "indices of GPUs joined by +, such as 0+1"
    items = [matching(SUBSET, allowed, item).split("+") for item in strings(value)]
    return tuple(tuple(map(int, item)) for item in items)


@dataclass(frozen=True, kw_only=True)
class GpuSettings:
    """target: a GPU's UUID, "" where none is named; gpu_subsets: for each worker of a kind cluster
    the indices of its GPUs, () for all to the only one."""

    gpus: str = setting(
        default="real",
        meaning="What the GPUs of a host node and of kind nodes are. real: the machine's own. "
        "mocked: NVIDIA's driver runs over a stand-in, and nothing computes; it takes "
        "make setup-host, a C compiler, and a machine without a GPU driver.",
        parse=_gpus,
    )
    gpus_per_node: int = setting(
        default="2",
        meaning="How many simulated or mocked GPUs each node has, or devices with "
        f"driver=example, 1 to {MOST_GPUS}.",
        parse=partial(count, 1, MOST_GPUS),
    )
    gpu_profile: GpuProfile = setting(
        default="h200",
        meaning=f"Model of simulated and mocked GPUs: {listed(GPU_PROFILES, 'or')}.",
        parse=_profile,
    )
    target: str = setting(
        meaning="UUID of the GPU that modules 3, 4 and 5 claim; empty: the first one. An "
        "existing cluster needs it named.",
        parse=_target,
    )
    gpu_mounts: str = setting(
        default="auto",
        meaning="How a kind node gets the GPU driver. toolkit: NVIDIA's container runtime "
        "injects it. cdi: mounts by this machine's CDI spec. auto: toolkit where Docker is "
        "set up for it.",
        parse=partial(one_of, MOUNTS),
    )
    gpu_subsets: tuple[tuple[int, ...], ...] = setting(
        default=(),
        meaning="For each kind node the indices of its GPUs, joined by +, such as 0+1; empty, "
        "all to the only node.",
        parse=_subsets,
        only="cluster=kind",
    )
