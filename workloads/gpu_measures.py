"""The measures: fp32 FMAs, memory bandwidth, latency of a small kernel.

Each warms up, then takes `repeats` values, `seconds` each, while NVML is sampled. Each proves
that its kernel did the work that is counted: the result is read back and compared.
"""

from __future__ import annotations

import ctypes
import statistics
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from workloads import cuda_driver, figures, gpu_kernels, nvml
else:  # in a pod, where the files lie side by side
    import cuda_driver
    import figures
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

    def launch(
        self, ptx: str, name: str, blocks: int, threads: int, values: list[Any]
    ) -> cuda_driver.Launch:
        kernel = self.context.kernel(ptx, name)
        return cuda_driver.Launch(self.context.driver, kernel, blocks, threads, values)


@dataclass
class Window:
    """When the values were taken, by the clock that all pods of a node share."""

    sampler: nvml.Sampler
    start: float
    end: float = 0.0
    repeats: list[list[float]] = field(default_factory=list)

    def entry(self) -> dict[str, Any]:
        times = {"start": self.start, "end": self.end, "windows": self.repeats}
        return {**self.sampler.summary(), **times}


@contextmanager
def window(gpu: Gpu) -> Iterator[Window]:
    with nvml.Sampler(gpu.nvml) as sampler:
        opened = Window(sampler, time.time())
        yield opened
        opened.end = time.time()


def repeated(
    gpu: Gpu, plan: Plan, measure: Callable[[], float]
) -> tuple[list[float], dict[str, Any]]:
    values: list[float] = []
    with window(gpu) as opened:
        for _ in range(plan.repeats):
            start = time.time()
            values.append(measure())
            opened.repeats.append([start, time.time()])
    return values, opened.entry()


def rates(
    gpu: Gpu, plan: Plan, launch: cuda_driver.Launch, work: float
) -> tuple[list[float], dict[str, Any]]:
    """Work a second, where one launch does so much of it."""
    stopwatch = gpu.context.stopwatch()
    ended = time.monotonic() + plan.warm_up
    took = stopwatch.time(launch, 1)
    while time.monotonic() < ended:
        took = stopwatch.time(launch, 1)
    launches = max(round(plan.seconds / took), 1)
    return repeated(gpu, plan, lambda: work * launches / stopwatch.time(launch, launches))


# --- fp32 FMA ---------------------------------------------------------------------------------


def fma(gpu: Gpu, plan: Plan) -> dict[str, Any]:
    """TFLOPS of the SMs that this process was given, beside the peak of as many at the clock
    that they had."""
    kernel = gpu.context.kernel(gpu_kernels.fma(), gpu_kernels.FMA)
    resident = gpu.context.resident_blocks(kernel, gpu_kernels.FMA_THREADS)
    blocks = gpu.sm_count * resident * WAVES
    threads = blocks * gpu_kernels.FMA_THREADS
    with gpu.context.allocate(threads * 4) as totals:
        one = ctypes.c_float(1)
        rounds = ctypes.c_uint(100)
        launch = cuda_driver.Launch(
            gpu.context.driver,
            kernel,
            blocks,
            gpu_kernels.FMA_THREADS,
            [totals.address, one, one, rounds],
        )
        rounds.value = enough_rounds(gpu, launch, rounds.value)
        fmas = threads * gpu_kernels.ACCUMULATORS * gpu_kernels.UNROLL * rounds.value
        tera = fmas * figures.FLOPS_PER_FMA / 1e12
        values, taken = rates(gpu, plan, launch, tera)
        check_totals(totals, rounds.value)
    return {**figures.summary("TFLOPS", values), **taken, **against_peak(gpu, values, taken)}


def enough_rounds(gpu: Gpu, launch: cuda_driver.Launch, rounds: int) -> int:
    """So many that a launch takes LAUNCH_SECONDS. The first launch also wakes the GPU."""
    stopwatch = gpu.context.stopwatch()
    stopwatch.time(launch, 1)
    wanted = round(rounds * LAUNCH_SECONDS / stopwatch.time(launch, 1))
    return min(max(wanted, 1), gpu_kernels.most_rounds())


def check_totals(totals: cuda_driver.Buffer, rounds: int) -> None:
    count = totals.size // 4
    expected = gpu_kernels.fma_total(rounds)
    if totals.read(0, totals.size) != struct.pack("<f", expected) * count:
        raise WrongResultError("fma: the kernel did not do the FMAs that were counted")


def against_peak(gpu: Gpu, values: list[float], taken: dict[str, Any]) -> dict[str, Any]:
    """Without NVML the peak is that of the highest clock, and the fraction therefore a lower
    bound."""
    tflops = statistics.median(values)
    sampled = taken["clock_mhz"]
    clock = sampled["median"] if sampled else gpu.clock_max_mhz
    silent = "NVML is missing" if gpu.nvml is None else "NVML does not tell it"
    peak = figures.peak_tflops(gpu.capability, gpu.sm_count, clock)
    return {
        "tflops": tflops,
        "tflops_per_sm": tflops / gpu.sm_count,
        "peak_tflops": peak,
        "peak_at_mhz": clock,
        "peak_clock": "median while measuring" if sampled else f"maximum, as {silent}",
        "fma_lanes_per_sm": figures.FMA_LANES.get(gpu.capability),
        "fraction_of_peak": tflops / peak if peak else None,
    }


# --- memory bandwidth -------------------------------------------------------------------------


def bandwidth(gpu: Gpu, plan: Plan) -> dict[str, Any]:
    """GB/s of a copy within the GPU's memory, read and written bytes counted."""
    size = copy_size(gpu.context.memory()[0])
    with gpu.context.allocate(size) as source, gpu.context.allocate(size) as target:
        source.fill(PATTERN)
        target.fill(0)
        launch = gpu.launch(
            gpu_kernels.copy(),
            gpu_kernels.COPY,
            size // gpu_kernels.COPY_BYTES_PER_BLOCK,
            gpu_kernels.COPY_THREADS,
            [target.address, source.address],
        )
        values, taken = rates(gpu, plan, launch, 2 * size / 1e9)
        check_copy(target)
    return {**figures.summary("GB/s", values), **taken, "copied_mib": size // cuda_driver.MIB}


def copy_size(free: int) -> int:
    """A quarter of the free memory for each side, so that neighbours have room; 1 GiB at most."""
    return max(min(free // 4, MOST_COPY_BYTES) // COPY_STEP, 1) * COPY_STEP


def check_copy(target: cuda_driver.Buffer) -> None:
    expected = struct.pack("<I", PATTERN) * (LOOKED_AT // 4)
    for offset in (0, target.size // 2, target.size - LOOKED_AT):
        if target.read(offset, LOOKED_AT) != expected:
            raise WrongResultError("bandwidth: the kernel did not copy what was counted")


# --- latency ----------------------------------------------------------------------------------


def latency(gpu: Gpu, plan: Plan) -> dict[str, Any]:
    """Microseconds from the launch of a kernel of one thread until this process knows that it
    has ended. The values are the medians of the repeats."""
    with gpu.context.allocate(4) as number:
        number.fill(0)
        launch = gpu.launch(gpu_kernels.tick(), gpu_kernels.TICK, 1, 1, [number.address])
        launches = len(latencies(gpu.context, launch, plan.warm_up))
        taken_in: list[list[float]] = []

        def middle() -> float:
            taken_in.append(latencies(gpu.context, launch, plan.seconds))
            return figures.percentile(taken_in[-1], 50)

        values, taken = repeated(gpu, plan, middle)
        launches += sum(map(len, taken_in))
        if struct.unpack("<I", number.read(0, 4)) != (launches,):
            raise WrongResultError("latency: the kernel did not run as often as was counted")
    tails = [figures.percentile(each, 99) for each in taken_in]
    return {
        **figures.summary("µs", values),
        **taken,
        "p50": statistics.median(values),
        "p99": statistics.median(tails),
        "p99_values": tails,
        "launches": launches,
    }


def latencies(
    context: cuda_driver.Context, launch: cuda_driver.Launch, seconds: float
) -> list[float]:
    found: list[float] = []
    ended = time.monotonic() + seconds
    while not found or time.monotonic() < ended:
        for _ in range(BATCH):
            start = time.perf_counter_ns()
            launch()
            context.synchronize()
            found.append((time.perf_counter_ns() - start) / 1000)
    return found


MEASURES: dict[str, Callable[[Gpu, Plan], dict[str, Any]]] = {
    "fma": fma,
    "bandwidth": bandwidth,
    "latency": latency,
}
