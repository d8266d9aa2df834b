"""What the cells of a comparison say: a table for each workload, and which way wins.

A cell is {"way", "clients", "outputs": what each client printed (workloads/sharing_client.py)}.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from checks.sharing_ways import EXCLUSIVE

Row = dict[str, Any]
WORKLOADS = ("compute", "bandwidth", "small-kernels")
COLUMNS = [
    ["way", "way"],
    ["clients", "n"],
    *([key, key] for key in ("total", "each", "slowdown", "gain", "jain")),
    *([key, key] for key in ("p50_us", "p99_us", "joules", "cv")),
]
"""Keys of a row that a terminal of 80 columns has room for, with their headings. A list, as kept
JSON has the keys of an object in the order of the alphabet."""
LEAST_MARGIN = 0.01
RULE = (
    f"the rate of all clients together is more than {LEAST_MARGIN:.0%} above that of the next best "
    "way, and by more than the coefficients of variation of both, added"
)
"""When a way wins."""
DIGITS = 4


@dataclass(frozen=True)
class Repeat:
    """What all clients did in one slot. power_w: None where nobody can tell."""

    total: float
    power_w: float | None


def rows(cells: Sequence[Mapping[str, Any]], workload: str) -> list[Row]:
    """One for each cell, with what it is in comparison with a client that is alone."""
    alone = [figures(cell, workload) for cell in cells if cell["way"] == EXCLUSIVE]
    found = []
    for cell in cells:
        row = figures(cell, workload)
        compared: Row = {"slowdown": None, "gain": None}
        if alone:
            compared["slowdown"] = alone[0]["each"] / row["each"]
            compared["gain"] = row["total"] / alone[0]["total"]
        found.append(row | compared)
    return found


def figures(cell: Mapping[str, Any], workload: str) -> Row:
    """total: rate of all clients; each: the mean of one; p50_us, p99_us: of one launch;
    joules: of the whole GPU for a unit of work. Medians of the repeats; cv: of `total`."""
    clients = [output["workloads"][workload] for output in cell["outputs"]]
    slots = [slot for client in clients for slot in client["slots"]]
    rates = [statistics.median(slot["rate"] for slot in client["slots"]) for client in clients]
    found = repeats(clients)
    totals = [each.total for each in found]
    powers = [each.power_w for each in found if each.power_w is not None]
    energies = [each.power_w / each.total for each in found if each.power_w is not None]
    return {
        "way": cell["way"],
        "clients": cell["clients"],
        "total": statistics.median(totals),
        "each": statistics.mean(rates),
        "jain": jain(rates),
        "p50_us": statistics.median(slot["p50_us"] for slot in slots),
        "p99_us": statistics.median(slot["p99_us"] for slot in slots),
        "power_w": statistics.median(powers) if powers else None,
        "joules": statistics.median(energies) if energies else None,
        "cv": variation(totals),
        "cv_of_client": max(variation([s["rate"] for s in c["slots"]]) for c in clients),
    }


def repeats(clients: Sequence[Mapping[str, Any]]) -> list[Repeat]:
    """Slot for slot what all clients did. Each reads the power of the whole GPU, so theirs is not
    added but averaged."""
    found = []
    for number in range(len(clients[0]["slots"])):
        slots = [client["slots"][number] for client in clients]
        powers = [power(client, slot) for client, slot in zip(clients, slots, strict=True)]
        known = [each for each in powers if each is not None]
        watts = statistics.mean(known) if known else None
        found.append(Repeat(sum(slot["rate"] for slot in slots), watts))
    return found


def power(client: Mapping[str, Any], slot: Mapping[str, Any]) -> float | None:
    """Of NVML's samples during the workload. Its counter of energy goes on in steps of a tenth of a
    second: on an H200 clients read 252 J and 280 J of the same second."""
    if sampled := client.get("power_w"):
        return float(sampled["median"])
    if slot["energy_j"] is not None:
        return float(slot["energy_j"] / (slot["ended"] - slot["began"]))
    return None


def energy_from(output: Mapping[str, Any], workload: str) -> str | None:
    """power: samples of the workload, times time; counter: of the GPU, slot by slot."""
    client = output["workloads"][workload]
    if client.get("power_w"):
        return "power"
    return "counter" if client["slots"][0]["energy_j"] is not None else None


def variation(values: Sequence[float]) -> float:
    """The coefficient of variation: standard deviation of the sample by its mean."""
    return statistics.stdev(values) / statistics.mean(values) if len(values) > 1 else 0.0


def jain(rates: Sequence[float]) -> float:
    """Jain's index: 1 if all get the same, 1/n if one gets all."""
    return sum(rates) ** 2 / (len(rates) * sum(rate**2 for rate in rates))


def winners(found: Sequence[Row]) -> dict[int, str]:
    """Number of clients → the way that wins with so many, or why none does. One after the other
    on an exclusive GPU is as good as alone, whatever their number."""
    alone = [row for row in found if row["way"] == EXCLUSIVE]
    numbers = sorted({row["clients"] for row in found} - {1})
    return {
        number: winner([*alone, *(row for row in found if row["clients"] == number)])
        for number in numbers
    }


def winner(candidates: Sequence[Row]) -> str:
    ranked = sorted(candidates, key=lambda row: float(row["total"]), reverse=True)
    if len(ranked) < 2:
        return "none: there is nothing to compare with"
    best, second = ranked[:2]
    margin = best["total"] / second["total"] - 1
    noise = max(best["cv"] + second["cv"], LEAST_MARGIN)
    if margin > noise:
        return f"{best['way']}, {margin:.1%} above {second['way']}"
    near = [row["way"] for row in ranked if best["total"] / row["total"] - 1 <= noise]
    return f"none: {', '.join(near)} are within {noise:.1%}"


def table_rows(found: Sequence[Row], skipped: Mapping[str, str]) -> list[Row]:
    """For people and for the limit of an output: rounded, and with a row for each way that was not
    measured."""
    return [
        *({key: rounded(key, value) for key, value in row.items()} for row in found),
        *({"way": way, "clients": None, "skipped": reason} for way, reason in skipped.items()),
    ]


def rounded(key: str, value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return round(value, 6) if key == "jain" else float(f"{value:.{DIGITS}g}")
