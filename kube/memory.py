"""Whether an MPS limit fits a GPU; sums only, in MiB."""

from __future__ import annotations


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
