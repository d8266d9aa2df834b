"""What the benchmark printed in pods, read: which clients there were, and what is made of them.

The JSON is that of workloads/gpu_benchmark.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from checks.result import CheckFailed

Told = dict[str, Any]
FMA, BANDWIDTH, LATENCY = "fma", "bandwidth", "latency"


def without_error(told: Mapping[str, Told]) -> None:
    """Raises CheckFailed with what went wrong in the first pod in which something did."""
    for name, found in told.items():
        if error := found.get("error"):
            raise CheckFailed(f"{name}: {error}")


def same_gpu(told: Mapping[str, Told], uuid: str) -> str:
    for name, found in told.items():
        if (seen := found["device"]["uuid"]) != uuid:
            raise CheckFailed(f"{name}: {seen}")
    return f"{', '.join(told)}: {uuid}"


def are_clients(told: Mapping[str, Told]) -> str:
    """That all are clients of MPS, each with its proof."""
    for name, found in told.items():
        if not found["mps"]["client"]:
            raise CheckFailed(f"{name}: {found['mps']['proof']}")
    return "; ".join(f"{name}: {found['mps']['proof']}" for name, found in told.items())


def window(told: Told, measure: str = FMA) -> tuple[float, float]:
    """When the values were taken, seconds since 1970."""
    taken = told["measures"][measure]
    return taken["start"], taken["end"]


def in_common(told: Mapping[str, Told], measure: str = FMA) -> float:
    """Which part of the shortest window lies in all the others, 0 to 1."""
    windows = [window(found, measure) for found in told.values()]
    shortest = min(end - start for start, end in windows)
    common = min(end for _, end in windows) - max(start for start, _ in windows)
    return max(common, 0.0) / shortest


def jain(values: Sequence[float]) -> float:
    """Jain's fairness index: 1 if all are equal, 1/n if one has all."""
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))


def per_sm_and_clock(told: Told) -> float:
    """TFLOPS of one SM at 1 MHz, so that limits of SMs can be compared whatever the clock was."""
    fma = told["measures"][FMA]
    return float(fma["tflops_per_sm"] / fma["peak_at_mhz"])


def row(name: str, told: Told, **more: Any) -> dict[str, Any]:
    """One client in a table. TFLOPS, GB/s, µs, W, MHz."""
    fma = told["measures"][FMA]
    found = {
        "client": name,
        **more,
        "sm_count": told["device"]["sm_count"],
        "values": fma["values"],
        "median": fma["median"],
        "cv": fma["cv"],
        "fraction_of_peak": fma["fraction_of_peak"],
        "tflops_per_sm": fma["tflops_per_sm"],
        "clock_mhz": (fma["clock_mhz"] or {}).get("median"),
        "power_w": (fma["power_w"] or {}).get("median"),
    }
    if BANDWIDTH in told["measures"]:
        found["bandwidth_gb_s"] = told["measures"][BANDWIDTH]["median"]
    if LATENCY in told["measures"]:
        found["latency_p50_us"] = told["measures"][LATENCY]["p50"]
        found["latency_p99_us"] = told["measures"][LATENCY]["p99"]
    return found


def environment(told: Told, versions: Mapping[str, str]) -> dict[str, Any]:
    """Where it was measured: the GPU and its software as the client saw them."""
    device, nvml = told["device"], told["nvml"]
    return {
        "gpu": device["name"],
        "uuid": device["uuid"],
        "compute_capability": device["compute_capability"],
        "memory_mib": told["memory"]["total_mib"],
        "cuda": device["cuda"],
        "driver": nvml.get("driver", nvml.get("error")),
        "clock_max_mhz": device["clock_max_mhz"],
        "kubernetes": versions["kubernetes"],
        "versions": dict(versions),
    }
