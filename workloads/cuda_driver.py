"""The few calls of the CUDA driver API that the GPU programs need, by ctypes on libcuda.so.1.

Not called cuda.py: in a pod it lies beside programs that may import NVIDIA's package `cuda`.
"""

from __future__ import annotations

import ctypes
import time
import uuid
from typing import Any, TypeVar

LIBRARY = "libcuda.so.1"
MOCKED = "the GPU is mocked"
"""In the text of an error of the mocked driver (toolchain/mocked_driver/cuda.c)."""
MIB = 1024 * 1024

# CUdevice_attribute, cuda.h
CLOCK_RATE_KHZ = 13
MULTIPROCESSOR_COUNT = 16
L2_CACHE_BYTES = 38
CAPABILITY_MAJOR = 75
CAPABILITY_MINOR = 76
MPS_ENABLED = 133
"""Contexts on this device are shared through MPS. Drivers before CUDA 12.4 do not know it."""

SCHEDULE_SPIN = 1
"""CU_CTX_SCHED_SPIN: a short wait is not lengthened by a sleep."""
EVENT_BLOCKING = 1
"""CU_EVENT_BLOCKING_SYNC: a long wait leaves the processor to others."""
JIT_ERROR_LOG = 5
JIT_ERROR_LOG_BYTES = 6
LOG_BYTES = 4096

Value = TypeVar("Value", bound="ctypes._SimpleCData[Any] | ctypes.Array[Any]")

ADVICE = {
    "CUDA_ERROR_NO_DEVICE": "no GPU is visible here: has the pod a claim?",
    "CUDA_ERROR_OUT_OF_MEMORY": "the GPU has, or MPS grants, less free memory than that",
    "CUDA_ERROR_DEVICE_UNAVAILABLE": "another process has the GPU to itself,"
    " or the MPS control daemon of this GPU cannot be reached from here",
    "CUDA_ERROR_MPS_CONNECTION_FAILED": "the MPS control daemon cannot be reached",
    "CUDA_ERROR_MPS_RPC_FAILURE": "the MPS server has gone",
    "CUDA_ERROR_MPS_SERVER_NOT_READY": "the MPS server is not ready, or serves another user",
    "CUDA_ERROR_MPS_MAX_CLIENTS_REACHED": "the MPS server has as many clients as it may have",
}


class CudaError(Exception):
    """A call that failed. name: as in cuda.h, such as CUDA_ERROR_OUT_OF_MEMORY."""

    def __init__(self, call: str, name: str, detail: str = "") -> None:
        self.call = call
        self.name = name
        advice = "" if MOCKED in detail else ADVICE.get(name)
        explained = "; ".join(filter(None, (detail, advice)))
        super().__init__(f"{call}: {name}" + (f" ({explained})" if explained else ""))


class MockedGpuError(CudaError):
    """The driver is a mocked one: NVML and its GPUs' files are there, and nothing computes."""


class Driver:
    """The library. Every call that fails is raised as CudaError."""

    def __init__(self, library: Any = None) -> None:
        self._library = load_library() if library is None else library
        self._call: tuple[str, float] | None = None

    def call(self, function: str, *arguments: Any) -> None:
        self._call = function, time.monotonic()
        try:
            code = getattr(self._library, function)(*arguments)
        except AttributeError:
            raise CudaError(function, "not in this driver") from None
        finally:
            self._call = None
        if code:
            name = self._describe("cuGetErrorName", code) or f"error {code}"
            text = self._describe("cuGetErrorString", code)
            raise (MockedGpuError if MOCKED in text else CudaError)(function, name, text)

    def read(self, kind: type[Value], function: str, *arguments: Any) -> Value:
        """What the function writes where its first argument points."""
        written = kind()
        self.call(function, ctypes.byref(written), *arguments)
        return written

    def waiting(self) -> tuple[str, float]:
        """The call that has not returned and for how many seconds, seen from another thread."""
        call = self._call
        return (call[0], time.monotonic() - call[1]) if call else ("", 0.0)

    def give_back(self, raised: type[BaseException] | None, *call: Any) -> None:
        """A call at the end of a `with` block; none after an error of CUDA: the process ends
        anyway, and an MPS server that has gone would never answer."""
        if raised is None or not issubclass(raised, CudaError):
            self.call(*call)

    def _describe(self, function: str, code: int) -> str:
        text = ctypes.c_char_p()
        getattr(self._library, function)(ctypes.c_int(code), ctypes.byref(text))
        return (text.value or b"").decode()


def load_library() -> ctypes.CDLL:
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError as error:
        reason = f"{error}; has the pod a claim for a GPU?"
        raise CudaError("dlopen", "no CUDA driver", reason) from None


def device_count(driver: Driver) -> int:
    driver.call("cuInit", ctypes.c_uint(0))
    return driver.read(ctypes.c_int, "cuDeviceGetCount").value


class Device:
    """A GPU as CUDA sees it, which under MPS is this client's share."""

    def __init__(self, driver: Driver, index: int = 0) -> None:
        self.driver = driver
        driver.call("cuInit", ctypes.c_uint(0))
        self._device = driver.read(ctypes.c_int, "cuDeviceGet", ctypes.c_int(index))

    def attribute(self, which: int) -> int:
        number = ctypes.c_int(which)
        return self.driver.read(ctypes.c_int, "cuDeviceGetAttribute", number, self._device).value

    @property
    def name(self) -> str:
        text = ctypes.create_string_buffer(256)
        self.driver.call("cuDeviceGetName", text, ctypes.c_int(len(text)), self._device)
        return text.value.decode()

    @property
    def uuid(self) -> str:
        octets = self.driver.read(ctypes.c_ubyte * 16, "cuDeviceGetUuid_v2", self._device)
        return gpu_uuid(bytes(octets))

    @property
    def capability(self) -> tuple[int, int]:
        return self.attribute(CAPABILITY_MAJOR), self.attribute(CAPABILITY_MINOR)

    @property
    def cuda_version(self) -> str:
        """The CUDA version that the driver supports, such as 13.0."""
        number = self.driver.read(ctypes.c_int, "cuDriverGetVersion").value
        return f"{number // 1000}.{number % 1000 // 10}"

    @property
    def mps_enabled(self) -> bool | None:
        """None if the driver does not know this attribute."""
        try:
            return bool(self.attribute(MPS_ENABLED))
        except CudaError as error:
            if error.name != "CUDA_ERROR_INVALID_VALUE":
                raise
            return None

    def open(self) -> Context:
        return Context(self.driver, self._device)


def gpu_uuid(octets: bytes) -> str:
    """As NVML and the attributes of a DRA device print it."""
    return f"GPU-{uuid.UUID(bytes=octets)}"


class Context:
    """The device's primary context, current in this thread until it is closed."""

    def __init__(self, driver: Driver, device: ctypes.c_int) -> None:
        self.driver = driver
        self._device = device
        driver.call("cuDevicePrimaryCtxSetFlags_v2", device, ctypes.c_uint(SCHEDULE_SPIN))
        handle = driver.read(ctypes.c_void_p, "cuDevicePrimaryCtxRetain", device)
        driver.call("cuCtxSetCurrent", handle)

    def __enter__(self) -> Context:
        return self

    def __exit__(self, raised: type[BaseException] | None, *_more: object) -> None:
        self.driver.give_back(raised, "cuCtxSynchronize")
        self.driver.give_back(raised, "cuDevicePrimaryCtxRelease_v2", self._device)

    def memory(self) -> tuple[int, int]:
        """Free and total bytes. Under an MPS limit free is what the limit leaves."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.driver.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def allocate(self, size: int) -> Buffer:
        return Buffer(self.driver, size)

    def kernel(self, ptx: str, name: str) -> ctypes.c_void_p:
        """The entry of that name, compiled by the driver for this GPU."""
        read = self.driver.read
        log = ctypes.create_string_buffer(LOG_BYTES)
        options = (ctypes.c_int * 2)(JIT_ERROR_LOG, JIT_ERROR_LOG_BYTES)
        values = (ctypes.c_void_p * 2)(ctypes.addressof(log), LOG_BYTES)
        arguments = (ctypes.c_char_p(ptx.encode()), ctypes.c_uint(len(options)), options, values)
        try:
            module = read(ctypes.c_void_p, "cuModuleLoadDataEx", *arguments)
        except CudaError as error:
            raise CudaError(error.call, error.name, log.value.decode().strip()) from None
        entry = ctypes.c_char_p(name.encode())
        return read(ctypes.c_void_p, "cuModuleGetFunction", module, entry)

    def resident_blocks(self, kernel: ctypes.c_void_p, threads: int) -> int:
        """How many blocks of that many threads one SM runs at a time."""
        function = "cuOccupancyMaxActiveBlocksPerMultiprocessor"
        arguments = (kernel, ctypes.c_int(threads), ctypes.c_size_t(0))
        return self.driver.read(ctypes.c_int, function, *arguments).value

    def synchronize(self) -> None:
        self.driver.call("cuCtxSynchronize")


class Buffer:
    """Memory of the GPU, freed at the end of its `with` block."""

    def __init__(self, driver: Driver, size: int) -> None:
        self.driver = driver
        self.size = size
        self.address = driver.read(ctypes.c_uint64, "cuMemAlloc_v2", ctypes.c_size_t(size))

    def __enter__(self) -> Buffer:
        return self

    def __exit__(self, raised: type[BaseException] | None, *_more: object) -> None:
        self.driver.give_back(raised, "cuMemFree_v2", self.address)

    def fill(self, word: int) -> None:
        """Writes the 32-bit word all over it."""
        words = ctypes.c_size_t(self.size // 4)
        self.driver.call("cuMemsetD32_v2", self.address, ctypes.c_uint(word), words)

    def read(self, offset: int, size: int) -> bytes:
        copied = ctypes.create_string_buffer(size)
        start = ctypes.c_uint64(self.address.value + offset)
        self.driver.call("cuMemcpyDtoH_v2", copied, start, ctypes.c_size_t(size))
        return copied.raw


class Launch:
    """A kernel with its grid and arguments, ready to be called any number of times."""

    def __init__(
        self, driver: Driver, kernel: ctypes.c_void_p, blocks: int, threads: int, *values: Any
    ) -> None:
        self._driver = driver
        self._values = values
        pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, self._values))
        one, none = ctypes.c_uint(1), ctypes.c_void_p()
        grid = (ctypes.c_uint(blocks), one, one, ctypes.c_uint(threads), one, one)
        self._arguments = (kernel, *grid, ctypes.c_uint(0), none, pointers, none)

    def __call__(self) -> None:
        self._driver.call("cuLaunchKernel", *self._arguments)


class Stopwatch:
    """Two events around what is queued between them: seconds as the GPU counts them."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        create = (ctypes.c_void_p, "cuEventCreate", ctypes.c_uint(EVENT_BLOCKING))
        self._events = (driver.read(*create), driver.read(*create))

    def time(self, launch: Launch, times: int) -> float:
        started, ended = self._events
        self._driver.call("cuEventRecord", started, ctypes.c_void_p())
        for _ in range(times):
            launch()
        self._driver.call("cuEventRecord", ended, ctypes.c_void_p())
        self._driver.call("cuEventSynchronize", ended)
        milliseconds = ctypes.c_float()
        self._driver.call("cuEventElapsedTime", ctypes.byref(milliseconds), started, ended)
        return milliseconds.value / 1000
