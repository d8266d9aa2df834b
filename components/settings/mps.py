"""Settings of the modules that share a GPU by MPS."""

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

from components.settings.parsers import count, listed, matching, one_of, require_distinct, strings
from components.settings.setting import NotAllowed, setting
from kube.quantity import mebibytes

WAYS = ("driver", "daemonset", "both")
NO_LIMIT = "none"
"""Where the GPU uses the machine's memory, which MPS does not limit."""
MOST_CLIENTS = 48
"""Clients that one MPS server takes (NVIDIA's MPS documentation, from Volta on)."""
MEMORY_UNITS = ("Ki", "Mi", "Gi", "Ti")
MEMORY = re.compile(r"[0-9]{1,12}(" + "|".join(MEMORY_UNITS) + ")")


def _percentages(value: str, _: Any) -> tuple[int, ...]:
    items = strings(value)
    found = [count(1, 100, item) for item in items]
    require_distinct(items, "percentage")
    if 100 not in found:
        raise NotAllowed(items, "100 must be among them, to compare with")
    return tuple(found)


def _memory_limit(value: str, _: Any) -> str:
    if value == NO_LIMIT:
        return value
    units = ", ".join(MEMORY_UNITS)
    matching(MEMORY, f"a whole number with {units}, such as 1Gi, or {NO_LIMIT}", value)
    if mebibytes(value) < 1:
        raise NotAllowed(value, "at least 1Mi: MPS counts whole MiB")
    return value


@dataclass(frozen=True, kw_only=True)
class MpsSettings:
    mps: str = setting(
        default="driver",
        meaning="Who runs the MPS daemon in module 4. driver: NVIDIA's DRA driver, one for each "
        "claim. daemonset: the lab, as a DaemonSet whose clients have an ordinary claim. both: one "
        "after the other. With daemonset or both module 5's comparison measures the lab's daemon "
        "too.",
        parse=partial(one_of, WAYS),
    )
    mps_percentages: tuple[int, ...] = setting(
        default=("100", "50", "20", "10", "1"),
        meaning="Thread percentages that module 5 measures one after the other, each 1 to "
        "100, 100 among them.",
        parse=_percentages,
    )
    mps_clients: int = setting(
        default="3",
        meaning=f"How many clients share the GPU at a time in module 5, 2 to {MOST_CLIENTS}.",
        parse=partial(count, 2, MOST_CLIENTS),
    )
    mps_share_percentage: int = setting(
        default="20",
        meaning="Thread percentage of each of them, 1 to 100.",
        parse=partial(count, 1, 100),
    )
    mps_memory_limit: str = setting(
        default="1Gi",
        meaning=f"Memory limit of a client in module 5, with {listed(MEMORY_UNITS, 'or')}, at "
        f"least 1Mi; times mpsClients it must fit the GPU. {NO_LIMIT}: no client has one, for "
        "GPUs that use the machine's memory.",
        parse=_memory_limit,
    )
    sweep: str = setting(
        default="",
        meaning="Whether module 5 compares the ways to share a GPU. quick: 1, 2 and 4 clients, 3 "
        "repeats. full: also 3 clients, 5 repeats and every interval of time slices. Empty: no "
        "comparison. Figures take a real GPU.",
        parse=partial(one_of, ("", "quick", "full")),
    )
    sweep_minutes: int = setting(
        default="30",
        meaning="After how many minutes the comparison begins no further measurement; the next "
        "update goes on with the rest.",
        parse=partial(count, 1, 24 * 60),
    )

    @property
    def mps_memory_mib(self) -> int:
        """The limit as NVIDIA's driver hands it to MPS: whole MiB, rounded down; 0 for none."""
        return 0 if self.mps_memory_limit == NO_LIMIT else mebibytes(self.mps_memory_limit)
