"""Quantities as Kubernetes writes them: 1k devices, 80Gi of memory.

To import the official client's parser loads the whole client, about 0.3 s of every preview.
"""

import re
from decimal import Decimal

BINARY = {f"{letter}i": Decimal(2) ** (10 * power) for power, letter in enumerate("KMGTPE", 1)}
DECIMAL = {
    **{letter: Decimal(10) ** (3 * power) for power, letter in enumerate("kMGTPE", 1)},
    **{letter: Decimal(10) ** (-3 * power) for power, letter in enumerate("mun", 1)},
}
UNITS = {"": Decimal(1)} | BINARY | DECIMAL
FORM = re.compile(
    r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([eE][+-]?[0-9]+)|(" + "|".join(UNITS) + "))"
)


def parse(text: str) -> Decimal:
    """The number that it stands for. Raises ValueError for what is no quantity."""
    found = FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no quantity")
    number, exponent, unit = found.groups()
    return Decimal(number + (exponent or "")) * UNITS[unit or ""]


def mebibytes(text: str) -> int:
    """Whole MiB, rounded down as NVIDIA's driver rounds. Raises ValueError for no quantity."""
    return int(parse(text) // BINARY["Mi"])


MACHINES_MEMORY = "the GPU uses the machine's memory, which MPS does not limit"


def too_much(limit_mib: int, clients: int, memory_mib: int | None) -> str:
    """Why so many clients with that limit are more than a GPU has; empty if they are not.

    memory_mib: None for a GPU that uses the machine's memory; limit_mib: 0 for none.
    """
    if memory_mib is None:
        return MACHINES_MEMORY if limit_mib else ""
    if limit_mib > memory_mib:
        return f"a limit of {limit_mib} MiB is above the {memory_mib} MiB that the GPU has"
    if clients * limit_mib > memory_mib:
        return (
            f"{clients} clients of {limit_mib} MiB need {clients * limit_mib} MiB, "
            f"the GPU has {memory_mib} MiB"
        )
    return ""
