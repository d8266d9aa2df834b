"""A client of a GPU on which faults are tried: works until it is ended, and says what it gets.

Prints a line of JSON for each thing that happens: {"event", "at" (seconds since 1970), …}. Events:
began; ready (what CUDA says of the GPU); allocated; working (rounds so far, twice a second);
holding (the same on a mocked GPU, which computes nothing); crashing; error, its last.
Exit codes: 3 CUDA refused something, 143 ended by SIGTERM. With --processes it is that many
clients, numbered by `process`, and ends as the first of them does.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from workloads import cuda_driver, gpu_kernels
else:  # in a pod, where the files lie side by side
    import cuda_driver
    import gpu_kernels

GPU_FAILED, ENDED = 3, 143
SAY_SECONDS = 0.5
PATIENCE_SECONDS = 20.0
ROUNDS = 1000
"""Of FMAs in a launch: some milliseconds, so that a client is always in the middle of one."""
BLOCKS_PER_SM = 2


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ENDED))
    if options.processes > 1:
        return start_processes(options)
    say("began", options)
    try:
        driver = cuda_driver.Driver()
        threading.Thread(target=watch, args=(driver, options), daemon=True).start()
        work(driver, options)
    except cuda_driver.MockedGpuError:
        while True:
            say("holding", options)
            time.sleep(SAY_SECONDS)
    except cuda_driver.CudaError as error:
        say("error", options, name=error.name, error=str(error))
    return GPU_FAILED


def work(driver: cuda_driver.Driver, options: argparse.Namespace) -> None:
    """Until an error of CUDA, or SIGTERM."""
    device = cuda_driver.Device(driver)
    with device.open() as context:
        sms = device.attribute(cuda_driver.MULTIPROCESSOR_COUNT)
        say("ready", options, uuid=device.uuid, mps=device.mps_enabled, sm_count=sms)
        held = []
        for mib in options.allocate:
            held.append(context.allocate(mib * cuda_driver.MIB))
            say("allocated", options, mib=mib, total_mib=sum(b.size for b in held) >> 20)
        if options.crash:
            say("crashing", options)
            crash(context)
        launch = prepare(context, sms)
        rounds, said = 0, 0.0
        while True:
            launch()
            context.synchronize()
            rounds += 1
            if time.monotonic() > said + SAY_SECONDS:
                said = time.monotonic()
                say("working", options, rounds=rounds)


def prepare(context: cuda_driver.Context, sms: int) -> cuda_driver.Launch:
    blocks, block = sms * BLOCKS_PER_SM, gpu_kernels.FMA_THREADS
    totals = context.allocate(blocks * block * 4)
    kernel = context.kernel(gpu_kernels.fma(), gpu_kernels.FMA)
    one = ctypes.c_float(1)
    values = (totals.address, one, one, ctypes.c_uint(ROUNDS))
    return cuda_driver.Launch(context.driver, kernel, blocks, block, *values)


def crash(context: cuda_driver.Context) -> None:
    """Have a kernel write where no memory is; raises CudaError."""
    kernel = context.kernel(gpu_kernels.tick(), gpu_kernels.TICK)
    cuda_driver.Launch(context.driver, kernel, 1, 1, ctypes.c_uint64(0))()
    context.synchronize()


def start_processes(options: argparse.Namespace) -> int:
    """The exit code of the first that ends; the others are ended then."""
    command = [sys.executable, __file__, "--allocate", *map(str, options.allocate)]
    children = [
        subprocess.Popen([*command, "--process", str(number)])
        for number in range(options.processes)
    ]
    try:
        while (code := next((c for child in children if (c := child.poll())), None)) is None:
            time.sleep(SAY_SECONDS)
        return code
    finally:
        for child in children:
            child.terminate()


def watch(driver: cuda_driver.Driver, options: argparse.Namespace) -> None:
    """End the program when CUDA does not answer: it waits for ever where the MPS server has gone,
    or serves another user."""
    while True:
        time.sleep(SAY_SECONDS)
        call, waited = driver.waiting()
        if waited > PATIENCE_SECONDS:
            error = f"{call}: no answer for {PATIENCE_SECONDS:g} s"
            say("error", options, name="no answer", error=error)
            os._exit(GPU_FAILED)


def say(event: str, options: argparse.Namespace, **more: Any) -> None:
    line = {"event": event, "at": time.time(), "process": options.process, **more}
    # In one write: several processes have one log, and lines of theirs must not mix.
    sys.stdout.write(f"{json.dumps(line)}\n")
    sys.stdout.flush()


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="fault_client", description=(__doc__ or "").partition("\n")[0]
    )
    add = parser.add_argument
    add("--allocate", type=int, nargs="*", default=[], metavar="MIB", help="take these, and keep")
    add("--crash", action="store_true", help="write where no memory is")
    add("--processes", type=int, default=1, help="so many clients in one pod")
    add("--process", type=int, default=0, help="the number of this one")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    ended_with = main()
    # Without the driver's own clearing up, which could wait for ever.
    sys.stdout.flush()
    os._exit(ended_with)
