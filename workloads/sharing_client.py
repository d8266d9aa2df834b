"""One of several clients that share a GPU: what it gets, while the others work, of three workloads.

Prints one JSON object as its last line on stdout; what it needs and its exit codes are those of
gpu_benchmark. All clients work by one plan that begins at their common start: each workload has a
warm-up and then `repeats` slots, without a pause in between, so that what one client did in a slot
can be added to what the others did. A client has one launch under way at a time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from workloads import cuda_driver, gpu_benchmark, gpu_measures, nvml
else:  # in a pod, where the files lie side by side
    import cuda_driver
    import gpu_benchmark
    import gpu_measures
    import nvml

FMA_ROUNDS = 120
"""About 4 ms of the whole GPU at 2 GHz: every client launches the same, whoever works beside it."""
MOST_COPY_BYTES = 1024 * cuda_driver.MIB
PART_OF_MEMORY = 32
"""Two buffers of that part for each client, on GPUs with less than 32 GiB."""
PAUSE_SECONDS = 0.5
"""Between two workloads: the last launches of all clients end in it."""
SAMPLE_SECONDS = 0.1
WORKLOADS: dict[str, Callable[[gpu_measures.Gpu], AbstractContextManager[gpu_measures.Work]]] = {
    "compute": lambda gpu: gpu_measures.fma_work(gpu, FMA_ROUNDS),
    "bandwidth": lambda gpu: gpu_measures.copy_work(gpu, copy_size(gpu.context.memory()[1])),
    "small-kernels": gpu_measures.tick_work,
}


def main(arguments: list[str] | None = None) -> int:
    options = gpu_benchmark.make_parser("sharing_client", __doc__, seconds=1.0)
    return gpu_benchmark.perform("sharing_client", options.parse_args(arguments), measure)


def measure(options: argparse.Namespace, result: gpu_benchmark.Result) -> None:
    with gpu_benchmark.opened(options, result) as gpu, prepared(gpu) as works:
        result["start"] = gpu_benchmark.wait_for_start(options)
        begins = result["start"]["requested"] if result["start"] else time.time()
        result["workloads"] = found = {}
        for name, work in works.items():
            gpu_benchmark.say(f"measuring {name}")
            found[name] = work_in_slots(gpu, work, begins, options)
            begins += options.warm_up + options.repeats * options.seconds + PAUSE_SECONDS


@contextmanager
def prepared(gpu: gpu_measures.Gpu) -> Iterator[dict[str, gpu_measures.Work]]:
    """All workloads, ready: what each needs is compiled and allocated before the start."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(make(gpu)) for name, make in WORKLOADS.items()}


def work_in_slots(
    gpu: gpu_measures.Gpu, work: gpu_measures.Work, begins: float, options: argparse.Namespace
) -> dict[str, Any]:
    """begins: the moment of the warm-up, seconds since 1970. A slot that this client comes too late
    for is shorter; its rate is that of the time in which it worked."""
    time.sleep(max(begins - time.time(), 0.0))
    starts = [begins + options.warm_up + slot * options.seconds for slot in range(options.repeats)]
    with nvml.Sampler(gpu.nvml, SAMPLE_SECONDS) as sampler:
        work_until(gpu, work, starts[0])
        slots = [work_until(gpu, work, start + options.seconds) for start in starts]
    return {"unit": work.unit, "begins": begins, "slots": slots, **sampler.summary()}


def work_until(gpu: gpu_measures.Gpu, work: gpu_measures.Work, end: float) -> dict[str, Any]:
    """One slot: rate, microseconds of a launch, and the energy that the whole GPU used, None where
    it does not count that."""
    energy, began = used_energy(gpu.nvml), time.time()
    launches = gpu_measures.time_launches(gpu.context, work, end - began, batch=1)
    ended, used = time.time(), used_energy(gpu.nvml)
    return {
        "began": began,
        "ended": ended,
        "launches": len(launches),
        "rate": len(launches) * work.amount / (ended - began),
        "p50_us": gpu_measures.percentile(launches, 50),
        "p99_us": gpu_measures.percentile(launches, 99),
        "energy_j": None if energy is None or used is None else used - energy,
    }


def used_energy(gpu: nvml.Gpu | None) -> float | None:
    try:
        return None if gpu is None else nvml.if_supported(gpu.energy_j)
    except nvml.NvmlError:
        return None


def copy_size(total: int) -> int:
    """The same for every client of a GPU, whatever the others have allocated by then."""
    step = gpu_measures.COPY_STEP
    return max(min(total // PART_OF_MEMORY, MOST_COPY_BYTES) // step, 1) * step


if __name__ == "__main__":
    gpu_benchmark.leave(main())
