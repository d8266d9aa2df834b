# ruff: noqa: N802 (methods are named as the functions that they stand in for)
"""Stand-ins for libcuda and NVML: a GPU that does what the kernels would, at 0.99 of its peak."""

from __future__ import annotations

import ctypes
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from workloads import cuda_driver, gpu_kernels

UUID = "GPU-88f5b919-31af-7aaa-d814-cd550425c75a"
MIB = cuda_driver.MIB
FRACTION = 0.99
LANES = 128
CLOCK_MHZ = 1980
POWER_W = 300
"""By which the counter of its energy grows."""
COPY_GB_PER_SECOND = 0.5
"""So little that few copies take the time that the program asks for."""
INVALID_VALUE, OUT_OF_MEMORY, NO_DEVICE, INVALID_PTX = 1, 2, 100, 218
NAMES = {
    INVALID_VALUE: b"CUDA_ERROR_INVALID_VALUE",
    OUT_OF_MEMORY: b"CUDA_ERROR_OUT_OF_MEMORY",
    NO_DEVICE: b"CUDA_ERROR_NO_DEVICE",
    INVALID_PTX: b"CUDA_ERROR_INVALID_PTX",
}


MOCKED = b"the GPU is mocked: no CUDA-capable device is detected"


@dataclass
class Cuda:
    """One function of the driver API a method, by its own name. `fail`: function → error code.
    `before`: called with every function's name. error_text: what it says of every error."""

    sm_count: int = 4
    free: int = 96 * MIB
    total: int = 1024 * MIB
    mps: int | None = 0
    idle: bool = False
    error_text: bytes = b"what went wrong"
    fail: dict[str, int] = field(default_factory=dict)
    before: Callable[[str], None] = lambda _name: None
    called: list[str] = field(default_factory=list)
    memory: dict[int, bytearray] = field(default_factory=dict)
    kernels: list[str] = field(default_factory=list)
    elapsed: float = 0.0

    def __getattr__(self, name: str) -> Callable[..., int]:
        if not name.startswith("cu"):
            raise AttributeError(name)
        perform = getattr(type(self), f"do_{name}", None)

        def function(*arguments: Any) -> int:
            self.called.append(name)
            self.before(name)
            if name in self.fail:
                return self.fail[name]
            return int(perform(self, *arguments) or 0) if perform else 0

        return function

    def do_cuGetErrorName(self, code: ctypes.c_int, text: Any) -> None:
        text._obj.value = NAMES.get(code.value)

    def do_cuGetErrorString(self, code: ctypes.c_int, text: Any) -> None:
        text._obj.value = self.error_text

    def do_cuDeviceGetAttribute(self, value: Any, which: Any, _device: Any) -> int:
        known = {
            cuda_driver.MULTIPROCESSOR_COUNT: self.sm_count,
            cuda_driver.CAPABILITY_MAJOR: 9,
            cuda_driver.CLOCK_RATE_KHZ: CLOCK_MHZ * 1000,
            cuda_driver.L2_CACHE_BYTES: 60 * MIB,
            cuda_driver.MPS_ENABLED: self.mps,
        }
        found = known.get(which.value, 0)
        if found is None:
            return INVALID_VALUE
        value._obj.value = found
        return 0

    def do_cuDeviceGetCount(self, count: Any) -> None:
        count._obj.value = 1

    def do_cuDeviceGetName(self, text: Any, _size: Any, _device: Any) -> None:
        text.value = b"NVIDIA H200"

    def do_cuDeviceGetUuid_v2(self, octets: Any, _device: Any) -> None:
        octets._obj[:] = bytes.fromhex(UUID[4:].replace("-", ""))

    def do_cuDriverGetVersion(self, number: Any) -> None:
        number._obj.value = 13010

    def do_cuMemGetInfo_v2(self, free: Any, total: Any) -> None:
        free._obj.value, total._obj.value = self.free, self.total

    def do_cuMemAlloc_v2(self, address: Any, size: Any) -> int:
        if size.value > self.free:
            return OUT_OF_MEMORY
        self.free -= size.value
        address._obj.value = (max(self.memory, default=0) or 2**40) + 2**32
        self.memory[address._obj.value] = bytearray(size.value)
        return 0

    def do_cuMemFree_v2(self, address: Any) -> None:
        self.free += len(self.memory.pop(address.value))

    def do_cuMemsetD32_v2(self, address: Any, word: Any, count: Any) -> None:
        self.memory[address.value][:] = struct.pack("<I", word.value) * count.value

    def do_cuMemcpyDtoH_v2(self, target: Any, source: Any, size: Any) -> None:
        start = max(address for address in self.memory if address <= source.value)
        offset = source.value - start
        target.raw = bytes(self.memory[start][offset : offset + size.value])

    def do_cuModuleGetFunction(self, kernel: Any, _module: Any, name: Any) -> None:
        self.kernels.append(name.value.decode())
        kernel._obj.value = len(self.kernels)

    def do_cuOccupancyMaxActiveBlocksPerMultiprocessor(self, blocks: Any, *_kernel: Any) -> None:
        blocks._obj.value = 2

    def do_cuLaunchKernel(self, kernel: Any, *arguments: Any) -> None:
        name = self.kernels[kernel.value - 1]
        threads = arguments[0].value * arguments[3].value
        {
            gpu_kernels.FMA: self.ran_fma,
            gpu_kernels.COPY: self.ran_copy,
            gpu_kernels.TICK: self.ran_tick,
        }[name](threads, arguments[8])

    def ran_fma(self, threads: int, values: Any) -> None:
        rounds = ctypes.c_uint.from_address(values[3]).value
        fmas = threads * gpu_kernels.ACCUMULATORS * gpu_kernels.UNROLL * rounds
        self.elapsed += fmas / (self.sm_count * LANES * CLOCK_MHZ * 1e6 * FRACTION)
        if not self.idle:
            total = struct.pack("<f", gpu_kernels.fma_total(rounds))
            self.memory[address(values[0])][:] = total * threads

    def ran_copy(self, _threads: int, values: Any) -> None:
        target, source = self.memory[address(values[0])], self.memory[address(values[1])]
        self.elapsed += 2 * len(target) / (COPY_GB_PER_SECOND * 1e9)
        if not self.idle:
            target[:] = source

    def ran_tick(self, _threads: int, values: Any) -> None:
        number = self.memory[address(values[0])]
        if not self.idle:
            number[:] = struct.pack("<I", struct.unpack("<I", number)[0] + 1)

    def do_cuEventElapsedTime(self, milliseconds: Any, *_events: Any) -> None:
        milliseconds._obj.value = self.elapsed * 1000
        self.elapsed = 0.0


def address(pointer: int) -> int:
    return ctypes.c_uint64.from_address(pointer).value


@dataclass
class Nvml:
    """NVML of the same GPU. `fail`: function → error code."""

    clocks: list[int] = field(default_factory=lambda: [CLOCK_MHZ])
    fail: dict[str, int] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Callable[..., int]:
        answer = {
            "nvmlDeviceGetName": b"NVIDIA H200",
            "nvmlDeviceGetUUID": UUID.encode(),
            "nvmlSystemGetDriverVersion": b"580.159.04",
            "nvmlDeviceGetMaxClockInfo": 1980,
            "nvmlDeviceGetPowerUsage": 350_500,
            "nvmlDeviceGetTotalEnergyConsumption": round(time.monotonic() * POWER_W * 1000),
            "nvmlDeviceGetCurrentClocksThrottleReasons": 0x204,
            "nvmlDeviceGetComputeMode": 3,
            "nvmlDeviceGetMinorNumber": 0,
            "nvmlDeviceGetCount_v2": 1,
            "nvmlDeviceGetHandleByUUID": 1,
            "nvmlDeviceGetHandleByIndex_v2": 1,
            "nvmlInit_v2": None,
            "nvmlDeviceGetClockInfo": self.clocks[0],
        }

        def function(*arguments: Any) -> int:
            if name in self.fail:
                return self.fail[name]
            if name == "nvmlDeviceGetClockInfo" and len(self.clocks) > 1:
                self.clocks.pop(0)
            found = answer[name]
            if isinstance(found, bytes):
                arguments[-2].value = found
            elif found is not None:
                arguments[-1]._obj.value = found
            return 0

        if name not in answer:
            raise AttributeError(name)
        return function
