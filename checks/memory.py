"""Sizes of memory as Kubernetes writes them, and whether an MPS limit fits a GPU; sums only.

The official client has a parser, but to import it takes the client with it, about 0.3 s of every
preview; of its units only those that anybody gives GPU memory in are taken here.
"""

from __future__ import annotations

import re

UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
"""Bytes."""
QUANTITY = re.compile(r"([0-9]{1,12})(" + "|".join(UNITS) + ")")


def mebibytes(quantity: str) -> int | None:
    """Whole MiB, rounded down as NVIDIA's driver rounds; None if it is no such quantity."""
    found = QUANTITY.fullmatch(quantity)
    return int(found[1]) * UNITS[found[2]] // UNITS["Mi"] if found else None


def too_much(limit_mib: int, clients: int, memory_mib: int) -> str:
    """Why so many clients with that limit are more than a GPU has; empty if they are not."""
    if limit_mib > memory_mib:
        return f"a limit of {limit_mib} MiB is above the {memory_mib} MiB that the GPU has"
    if clients * limit_mib > memory_mib:
        return (
            f"{clients} clients of {limit_mib} MiB need {clients * limit_mib} MiB, "
            f"the GPU has {memory_mib} MiB"
        )
    return ""
