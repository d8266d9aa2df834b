"""What a pod really got of its GPU, measured from inside: SMs, memory, FMAs, bandwidth, latency.

Prints one JSON object as its last line on stdout, and what it is at on stderr. It needs Python 3.9
and the driver's libraries, no package, no privilege and no writable file. Exit codes: 0 measured,
2 bad arguments, 3 the GPU cannot be used or refused something, 4 the start did not come,
143 ended by SIGTERM. Everything but bad arguments ends in JSON, with `error` where it went wrong.
On a mocked GPU it waits for its start, tells what its claim brought, and ends with that error.

With --exit-zero the exit code is 0 whenever there is JSON: where a pod that fails would end the
update that made it, and so hide what other pods found, whoever reads the JSON judges.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from workloads import cuda_driver, gpu_measures, mps_client, nvml, start_barrier
else:  # in a pod, where the files lie side by side
    import cuda_driver
    import gpu_measures
    import mps_client
    import nvml
    import start_barrier

MIB = cuda_driver.MIB
GPU_FAILED = 3
LOOK_SECONDS = 0.5
Result = dict[str, Any]


class EndedError(Exception):
    """SIGTERM."""


EXIT_CODES: dict[type[Exception], int] = {
    cuda_driver.CudaError: GPU_FAILED,
    cuda_driver.MockedGpuError: GPU_FAILED,
    gpu_measures.WrongResultError: GPU_FAILED,
    start_barrier.StartError: 4,
    EndedError: 143,
}


def main(arguments: list[str] | None = None) -> int:
    return perform("gpu_benchmark", parse_arguments(arguments), measure)


def perform(
    program: str, options: argparse.Namespace, measure: Callable[[argparse.Namespace, Result], None]
) -> int:
    """Have a program fill its result and print it, whatever goes wrong; returns the exit code."""
    signal.signal(signal.SIGTERM, end)
    result: Result = {"program": program, "began": time.time()}
    code = 0
    try:
        measure(options, result)
    except tuple(EXIT_CODES) as error:
        code = EXIT_CODES[type(error)]
        report_error(result, error)
    print(json.dumps(result), flush=True)  # noqa: T201
    return 0 if options.exit_zero else code


def measure(options: argparse.Namespace, result: Result) -> None:
    """Fills the result as it goes, so that an error leaves what was found before it."""
    with opened(options, result) as gpu:
        result["start"] = wait_for_start(options)
        result["allocations"] = [try_allocation(gpu.context, size) for size in options.allocate]
        result["measures"] = measures = {}
        plan = gpu_measures.Plan(options.repeats, options.seconds, options.warm_up)
        for name in options.measure:
            say(f"measuring {name}")
            measures[name] = gpu_measures.MEASURES[name](gpu, plan)
            say(f"{name}: {measures[name]['median']:.4g} {measures[name]['unit']}")


@contextmanager
def opened(options: argparse.Namespace, result: Result) -> Iterator[gpu_measures.Gpu]:
    """The GPU, and in the result what this process was given of it."""
    driver = cuda_driver.Driver()
    with watched(driver, options, result):
        sockets = mps_client.connections()
        result["environment"] = mps_client.select_variables(os.environ)
        result["mps"] = mps_client.surroundings(os.environ)
        try:
            device = cuda_driver.Device(driver)
        except cuda_driver.MockedGpuError:
            result["start"] = wait_for_start(options)
            raise
        with device.open() as context:
            opened_sockets = mps_client.opened_since(sockets)
            result["mps"] = mps_client.describe(device.mps_enabled, opened_sockets, os.environ)
            yield read_gpu(device, context, result)


def read_gpu(
    device: cuda_driver.Device, context: cuda_driver.Context, result: dict[str, Any]
) -> gpu_measures.Gpu:
    """Reads back what this process was given."""
    capability = device.capability
    sm_count = device.attribute(cuda_driver.MULTIPROCESSOR_COUNT)
    free, total = context.memory()
    clock_max_mhz = device.attribute(cuda_driver.CLOCK_RATE_KHZ) / 1000
    result["device"] = {
        "uuid": device.uuid,
        "name": device.name,
        "sm_count": sm_count,
        "compute_capability": f"{capability[0]}.{capability[1]}",
        "fma_lanes_per_sm": gpu_measures.FMA_LANES.get(capability),
        "clock_max_mhz": clock_max_mhz,
        "l2_mib": device.attribute(cuda_driver.L2_CACHE_BYTES) / MIB,
        "cuda": device.cuda_version,
    }
    result["memory"] = {"free_mib": free / MIB, "total_mib": total / MIB}
    found, result["nvml"] = read_nvml(result["device"]["uuid"])
    return gpu_measures.Gpu(context, capability, sm_count, clock_max_mhz, found)


def read_nvml(uuid: str) -> tuple[nvml.Gpu | None, dict[str, Any]]:
    try:
        gpu = nvml.Gpu(uuid)
        return gpu, gpu.describe()
    except nvml.NvmlError as error:
        say(f"without NVML: {error}")
        return None, {"error": str(error)}


def wait_for_start(options: argparse.Namespace) -> dict[str, Any] | None:
    if options.start_file is None:
        return None
    say(f"ready, waiting for {start_barrier.START}… in {options.start_file}")
    return start_barrier.wait(options.start_file, options.start_timeout, say)


def try_allocation(context: cuda_driver.Context, mib: int) -> dict[str, Any]:
    """Whether so much memory is granted, tried and given back. at: seconds since 1970."""
    at = time.time()
    try:
        with context.allocate(mib * MIB):
            found = "granted"
    except cuda_driver.CudaError as error:
        found = error.name
    say(f"{mib} MiB: {found}")
    return {"mib": mib, "result": found, "at": at}


# --- the command line -------------------------------------------------------------------------


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser("gpu_benchmark", __doc__, seconds=0.5)
    add = parser.add_argument
    known = ",".join(gpu_measures.MEASURES)
    add("--measure", type=measure_names, default=known, help=f"which of {known}; '' for none")
    add("--allocate", type=positive_whole, nargs="*", default=[], metavar="MIB", help="try these")
    return parser.parse_args(arguments)


def make_parser(program: str, meaning: str | None, seconds: float) -> argparse.ArgumentParser:
    """With the options that programs which measure have in common."""
    parser = argparse.ArgumentParser(prog=program, description=(meaning or "").partition("\n")[0])
    add = parser.add_argument
    add("--repeats", type=positive_whole, default=5, help="values of each measure")
    add("--seconds", type=positive, default=seconds, help="of each value")
    add("--warm-up", type=positive, default=1.0, help="seconds before the first value")
    add("--patience", type=positive, default=60.0, help="seconds for the GPU to answer a call")
    add("--start-file", type=Path, help="start when the annotations in this file say")
    add("--start-timeout", type=positive, default=180.0, help="the most seconds to wait for that")
    add("--exit-zero", action="store_true", help="exit with 0 also when the JSON has an error")
    return parser


def measure_names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in gpu_measures.MEASURES:
            known = ", ".join(gpu_measures.MEASURES)
            raise argparse.ArgumentTypeError(f"{name!r} is none of {known}")
    return names


def positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def positive_whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


# --- how it ends ------------------------------------------------------------------------------


def end(_number: int, _frame: FrameType | None) -> None:
    raise EndedError("ended by SIGTERM")


@contextmanager
def watched(
    driver: cuda_driver.Driver, options: argparse.Namespace, result: dict[str, Any]
) -> Iterator[None]:
    """Ends the program when CUDA does not answer for so long: it waits for ever where the MPS
    server has gone, or serves another user."""
    done = threading.Event()
    arguments = (driver, options, result, done)
    threading.Thread(target=watch, args=arguments, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def watch(
    driver: cuda_driver.Driver, options: argparse.Namespace, result: dict[str, Any],
    done: threading.Event,
) -> None:  # fmt: skip
    while not done.wait(LOOK_SECONDS):
        call, waited = driver.waiting()
        if waited > options.patience:
            report_error(result, cuda_driver.CudaError(call, no_answer(call, options.patience)))
            print(json.dumps(result), flush=True)  # noqa: T201
            os._exit(0 if options.exit_zero else GPU_FAILED)


def no_answer(call: str, seconds: float) -> str:
    """Also why, where it is the usual reason: nothing else tells a client of it."""
    text = f"no answer for {seconds:g} s"
    if call != "cuInit" or mps_client.PIPE_DIRECTORY not in os.environ:
        return text
    return (
        f"{text}; this is user {os.geteuid()}, and an MPS daemon serves one user at a time: "
        "give all its clients the same"
    )


def report_error(result: dict[str, Any], error: Exception) -> None:
    result["error"] = str(error)
    say(str(error))


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)  # noqa: T201


def leave(code: int) -> None:
    """End the program."""
    if code == GPU_FAILED:
        os._exit(code)  # without the driver's own clearing up, which could wait for ever
    sys.exit(code)


if __name__ == "__main__":
    leave(main())
