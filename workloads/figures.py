"""What is made of measured values: median, variation, percentiles, part of the peak."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

FLOPS_PER_FMA = 2
FMA_LANES = {
    (7, 0): 64,
    (7, 2): 64,
    (7, 5): 64,
    (8, 0): 64,
    (8, 6): 128,
    (8, 7): 128,
    (8, 9): 128,
    (9, 0): 128,
    (10, 0): 128,
    (10, 1): 128,
    (10, 3): 128,
    (11, 0): 128,
    (12, 0): 128,
    (12, 1): 128,
}
"""32-bit FMAs that one SM of a compute capability can finish in one clock: CUDA C++ Programming
Guide, "Throughput of Native Arithmetic Instructions", and `_ConvertSMVer2Cores` in helper_cuda.h
of NVIDIA/cuda-samples."""


def coefficient_of_variation(values: Sequence[float]) -> float:
    """Standard deviation of the sample by its mean; 0 for a single value."""
    return statistics.stdev(values) / statistics.mean(values) if len(values) > 1 else 0.0


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that is not less than so many percent of all (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(math.ceil(len(ranked) * percent / 100), 1) - 1]


def summary(unit: str, values: Sequence[float]) -> dict[str, object]:
    return {
        "unit": unit,
        "values": list(values),
        "median": statistics.median(values),
        "cv": coefficient_of_variation(values),
    }


def peak_tflops(
    capability: tuple[int, int], sm_count: int, clock_mhz: float | None
) -> float | None:
    """What that many SMs can do at that clock; None if the clock or the GPU is not known."""
    lanes = FMA_LANES.get(capability)
    if lanes is None or clock_mhz is None:
        return None
    return sm_count * lanes * FLOPS_PER_FMA * clock_mhz / 1e6
