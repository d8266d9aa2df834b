"""The measures: fp32 FMAs, memory bandwidth, latency of a small kernel.

Each warms up, then takes `repeats` values, `seconds` each, while NVML is sampled. Each proves
that its kernel did the work that is counted: the result is read back and compared.
"""

from __future__ import annotations

import ctypes
import math
import statistics
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from workloads import cuda_driver, gpu_kernels, nvml
else:  # in a pod, where the files lie side by side
    import cuda_driver
    import gpu_kernels
    import nvml

LAUNCH_SECONDS = 0.05
"""Long enough that the start and the uneven end of a launch do not count."""
WAVES = 4
MOST_COPY_BYTES = 1024 * cuda_driver.MIB
COPY_STEP = 16 * cuda_driver.MIB
PATTERN = 0x5A17C0DE
LOOKED_AT = 65536
BATCH = 100
"""Latencies between two looks at the clock."""
FLOPS_PER_FMA = 2
FMA_LANES = {
    **dict.fromkeys([(7, 0), (7, 2), (7, 5), (8, 0)], 64),
    **dict.fromkeys([(8, 6), (8, 7), (8, 9), (9, 0), (10, 0)], 128),
    **dict.fromkeys([(10, 1), (10, 3), (11, 0), (12, 0), (12, 1)], 128),
}
"""32-bit FMAs that one SM of a compute capability can finish in one clock: CUDA C++ Programming
Guide, "Throughput of Native Arithmetic Instructions", and `_ConvertSMVer2Cores` in helper_cuda.h
of NVIDIA/cuda-samples."""


class WrongResultError(Exception):
    """A kernel did not do what was counted."""


@dataclass(frozen=True)
class Plan:
    repeats: int
    seconds: float
    warm_up: float


@dataclass(frozen=True)
class Gpu:
    """What the measures need to know of it. sm_count: as CUDA counts them for this process."""

    context: cuda_driver.Context
    capability: tuple[int, int]
    sm_count: int
    clock_max_mhz: float
    nvml: nvml.Gpu | None


@dataclass
class Work:
    """What a workload launches; the GPU proves it at the end of the workload's `with` block.

    amount: work of one launch, so many times the unit in a second; launches: those that counted.
    """

    launch: cuda_driver.Launch
    unit: str
    amount: float
    launches: int = 0


def repeat(gpu: Gpu, plan: Plan, unit: str, measure: Callable[[], float]) -> dict[str, Any]:
    """The values, and when they were taken, by the clock that all pods of a node share."""
    values: list[float] = []
    windows: list[list[float]] = []
    with nvml.Sampler(gpu.nvml) as sampler:
        start = time.time()
        for _ in range(plan.repeats):
            began = time.time()
            values.append(measure())
            windows.append([began, time.time()])
        times = {"start": start, "end": time.time(), "windows": windows}
    return {**summarize(unit, values), **sampler.summary(), **times}


def measure_rate(gpu: Gpu, plan: Plan, work: Work) -> dict[str, Any]:
    stopwatch, launch = cuda_driver.Stopwatch(gpu.context.driver), work.launch
    ended = time.monotonic() + plan.warm_up
    took = stopwatch.time(launch, 1)
    while time.monotonic() < ended:
        took = stopwatch.time(launch, 1)
    launches = max(round(plan.seconds / took), 1)
    done = work.amount * launches
    return repeat(gpu, plan, work.unit, lambda: done / stopwatch.time(launch, launches))


def summarize(unit: str, values: Sequence[float]) -> dict[str, Any]:
    """cv: the coefficient of variation, standard deviation of the sample by its mean."""
    return {
        "unit": unit,
        "values": list(values),
        "median": statistics.median(values),
        "cv": statistics.stdev(values) / statistics.mean(values) if len(values) > 1 else 0.0,
    }


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that is not less than so many percent of all (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(math.ceil(len(ranked) * percent / 100), 1) - 1]


# --- fp32 FMA ---------------------------------------------------------------------------------


@contextmanager
def fma_work(gpu: Gpu, rounds: int = 0) -> Iterator[Work]:
    """rounds: of a launch, 0 for so many that it takes LAUNCH_SECONDS."""
    kernel = gpu.context.kernel(gpu_kernels.fma(), gpu_kernels.FMA)
    block = gpu_kernels.FMA_THREADS
    blocks = gpu.sm_count * gpu.context.resident_blocks(kernel, block) * WAVES
    threads = blocks * block
    with gpu.context.allocate(threads * 4) as totals:
        one, counted = ctypes.c_float(1), ctypes.c_uint(rounds or 100)
        values = (totals.address, one, one, counted)
        launch = cuda_driver.Launch(gpu.context.driver, kernel, blocks, block, *values)
        if not rounds:
            counted.value = enough_rounds(gpu, launch, counted.value)
        fmas = threads * gpu_kernels.ACCUMULATORS * gpu_kernels.UNROLL * counted.value
        yield Work(launch, "TFLOPS", fmas * FLOPS_PER_FMA / 1e12)
        total = struct.pack("<f", gpu_kernels.fma_total(counted.value))
        if totals.read(0, totals.size) != total * threads:
            raise WrongResultError("fma: the kernel did not do the FMAs that were counted")


def fma(gpu: Gpu, plan: Plan) -> dict[str, Any]:
    """TFLOPS of the SMs that this process was given, beside the peak of as many at the
    measured clock."""
    with fma_work(gpu) as work:
        measured = measure_rate(gpu, plan, work)
    return {**measured, **compare_with_peak(gpu, measured)}


def enough_rounds(gpu: Gpu, launch: cuda_driver.Launch, rounds: int) -> int:
    """So many that a launch takes LAUNCH_SECONDS. The first launch also wakes the GPU."""
    stopwatch = cuda_driver.Stopwatch(gpu.context.driver)
    stopwatch.time(launch, 1)
    wanted = round(rounds * LAUNCH_SECONDS / stopwatch.time(launch, 1))
    return min(max(wanted, 1), gpu_kernels.most_rounds())


def compare_with_peak(gpu: Gpu, measured: dict[str, Any]) -> dict[str, Any]:
    """Without NVML the peak is that of the highest clock, and the fraction therefore a lower
    bound."""
    tflops, sampled = measured["median"], measured["clock_mhz"]
    clock = sampled["median"] if sampled else gpu.clock_max_mhz
    silent = "NVML is missing" if gpu.nvml is None else "NVML does not tell it"
    peak = peak_tflops(gpu.capability, gpu.sm_count, clock)
    return {
        "tflops": tflops,
        "tflops_per_sm": tflops / gpu.sm_count,
        "peak_tflops": peak,
        "peak_at_mhz": clock,
        "peak_clock": "median while measuring" if sampled else f"maximum, as {silent}",
        "fma_lanes_per_sm": FMA_LANES.get(gpu.capability),
        "fraction_of_peak": tflops / peak if peak else None,
    }


def peak_tflops(capability: tuple[int, int], sm_count: int, clock_mhz: float) -> float | None:
    """What that many SMs can do at that clock; None if the GPU is not known."""
    lanes = FMA_LANES.get(capability)
    return sm_count * lanes * FLOPS_PER_FMA * clock_mhz / 1e6 if lanes else None


# --- memory bandwidth -------------------------------------------------------------------------


@contextmanager
def copy_work(gpu: Gpu, size: int) -> Iterator[Work]:
    """A copy of so many bytes within the GPU's memory, read and written bytes counted."""
    blocks = size // gpu_kernels.COPY_BYTES_PER_BLOCK
    with gpu.context.allocate(size) as source, gpu.context.allocate(size) as target:
        source.fill(PATTERN)
        target.fill(0)
        kernel = gpu.context.kernel(gpu_kernels.copy(), gpu_kernels.COPY)
        grid = (blocks, gpu_kernels.COPY_THREADS)
        values = (target.address, source.address)
        launch = cuda_driver.Launch(gpu.context.driver, kernel, *grid, *values)
        yield Work(launch, "GB/s", 2 * size / 1e9)
        expected = struct.pack("<I", PATTERN) * (LOOKED_AT // 4)
        for offset in (0, size // 2, size - LOOKED_AT):
            if target.read(offset, LOOKED_AT) != expected:
                raise WrongResultError("bandwidth: the kernel did not copy what was counted")


def bandwidth(gpu: Gpu, plan: Plan) -> dict[str, Any]:
    size = copy_size(gpu.context.memory()[0])
    with copy_work(gpu, size) as work:
        measured = measure_rate(gpu, plan, work)
    return {**measured, "copied_mib": size // cuda_driver.MIB}


def copy_size(free: int) -> int:
    """A quarter of the free memory for each side, so that neighbours have room; 1 GiB at most."""
    return max(min(free // 4, MOST_COPY_BYTES) // COPY_STEP, 1) * COPY_STEP


# --- latency ----------------------------------------------------------------------------------


@contextmanager
def tick_work(gpu: Gpu) -> Iterator[Work]:
    """A kernel of one thread; its launches are counted in thousands."""
    with gpu.context.allocate(4) as number:
        number.fill(0)
        kernel = gpu.context.kernel(gpu_kernels.tick(), gpu_kernels.TICK)
        launch = cuda_driver.Launch(gpu.context.driver, kernel, 1, 1, number.address)
        work = Work(launch, "1000/s", 1 / 1000)
        yield work
        if struct.unpack("<I", number.read(0, 4)) != (work.launches,):
            raise WrongResultError("latency: the kernel did not run as often as was counted")


def latency(gpu: Gpu, plan: Plan) -> dict[str, Any]:
    """Microseconds from the launch of a kernel of one thread until this process knows that it
    has ended. The values are the medians of the repeats."""
    with tick_work(gpu) as work:
        time_launches(gpu.context, work, plan.warm_up)
        repeats: list[list[float]] = []

        def middle() -> float:
            repeats.append(time_launches(gpu.context, work, plan.seconds))
            return percentile(repeats[-1], 50)

        measured = repeat(gpu, plan, "µs", middle)
    tails = [percentile(each, 99) for each in repeats]
    return {
        **measured,
        "p50": statistics.median(measured["values"]),
        "p99": statistics.median(tails),
        "p99_values": tails,
        "launches": work.launches,
    }


def time_launches(
    context: cuda_driver.Context, work: Work, seconds: float, batch: int = BATCH
) -> list[float]:
    """Microseconds of each launch. batch: how many between two looks at the clock."""
    found: list[float] = []
    ended = time.monotonic() + seconds
    while not found or time.monotonic() < ended:
        for _ in range(batch):
            start = time.perf_counter_ns()
            work.launch()
            context.synchronize()
            found.append((time.perf_counter_ns() - start) / 1000)
    work.launches += len(found)
    return found


MEASURES: dict[str, Callable[[Gpu, Plan], dict[str, Any]]] = {
    "fma": fma,
    "bandwidth": bandwidth,
    "latency": latency,
}
