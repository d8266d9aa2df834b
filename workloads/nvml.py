"""Clocks, power and names of a GPU from NVML, by ctypes on libnvidia-ml.so.1.

A pod without it still measures: what NVML would have reported is then null, and says why.
"""

from __future__ import annotations

import ctypes
import operator
import statistics
import threading
from collections.abc import Callable
from functools import partial, reduce
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
NOT_SUPPORTED = 3
"""NVML's code for what this GPU has not."""
INTERVAL_SECONDS = 0.02
SM_CLOCK = 1
SAMPLED = ("clock_mhz", "power_w", "throttle_reasons")
"""Methods of Gpu, and what their values are called in a summary."""
COMPUTE_MODES = {0: "Default", 1: "Exclusive_Thread", 2: "Prohibited", 3: "Exclusive_Process"}
THROTTLE_REASONS = {
    0x001: "gpu_idle",
    0x002: "applications_clocks",
    0x004: "software_power_cap",
    0x008: "hardware_slowdown",
    0x010: "sync_boost",
    0x020: "software_thermal",
    0x040: "hardware_thermal",
    0x080: "hardware_power_brake",
    0x100: "display_clocks",
}


class NvmlError(Exception):
    """NVML is missing, or one of its calls failed."""


class NotSupportedError(NvmlError):
    """This GPU has no such thing; the others can still be asked for."""


class Gpu:
    """One GPU by its UUID, or by its place among those that NVML lists here."""

    def __init__(self, which: str | int, library: Any = None) -> None:
        self._library = load_library() if library is None else library
        self._handle = ctypes.c_void_p()
        self._call("nvmlInit_v2")
        handle = ctypes.byref(self._handle)
        if isinstance(which, int):
            self._call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(which), handle)
        else:
            self._call("nvmlDeviceGetHandleByUUID", ctypes.c_char_p(which.encode()), handle)

    @property
    def uuid(self) -> str:
        return self._text("nvmlDeviceGetUUID", self._handle)

    def describe(self) -> dict[str, Any]:
        """Who it is and how it is set, None for what this GPU has not."""
        clock = partial(self._number, "nvmlDeviceGetMaxClockInfo", ctypes.c_uint(SM_CLOCK))
        mode = if_supported(partial(self._number, "nvmlDeviceGetComputeMode"))
        return {
            "uuid": self.uuid,
            "name": self._text("nvmlDeviceGetName", self._handle),
            "driver": self._text("nvmlSystemGetDriverVersion"),
            "clock_max_mhz": if_supported(clock),
            "compute_mode": mode if mode is None else COMPUTE_MODES.get(mode, str(mode)),
        }

    def clock_mhz(self) -> int:
        """The clock of the SMs now."""
        return self._number("nvmlDeviceGetClockInfo", ctypes.c_uint(SM_CLOCK))

    def power_w(self) -> float:
        """Of the whole GPU, whoever uses it; NVML's own average over a second."""
        return self._number("nvmlDeviceGetPowerUsage") / 1000

    def energy_j(self) -> float:
        """Used by the whole GPU since its driver was loaded, which GPUs count since Volta."""
        total = ctypes.c_ulonglong()
        self._call("nvmlDeviceGetTotalEnergyConsumption", self._handle, ctypes.byref(total))
        return total.value / 1000

    def throttle_reasons(self) -> int:
        reasons = ctypes.c_ulonglong()
        self._call("nvmlDeviceGetCurrentClocksThrottleReasons", self._handle, ctypes.byref(reasons))
        return reasons.value

    def minor(self) -> int:
        """N of its device file /dev/nvidiaN."""
        return self._number("nvmlDeviceGetMinorNumber")

    def _number(self, function: str, *arguments: Any) -> int:
        value = ctypes.c_uint()
        self._call(function, self._handle, *arguments, ctypes.byref(value))
        return value.value

    def _text(self, function: str, *arguments: Any) -> str:
        text = ctypes.create_string_buffer(96)
        self._call(function, *arguments, text, ctypes.c_uint(len(text)))
        return text.value.decode()

    def _call(self, function: str, *arguments: Any) -> None:
        call(self._library, function, *arguments)


def every_gpu() -> list[Gpu]:
    """Those that NVML lists here."""
    library, count = load_library(), ctypes.c_uint()
    call(library, "nvmlInit_v2")
    call(library, "nvmlDeviceGetCount_v2", ctypes.byref(count))
    return [Gpu(index, library) for index in range(count.value)]


def call(library: Any, function: str, *arguments: Any) -> None:
    try:
        code = getattr(library, function)(*arguments)
    except AttributeError:
        raise NvmlError(f"{function}: not in this NVML") from None
    if code == NOT_SUPPORTED:
        raise NotSupportedError(f"{function}: NVML error {code}")
    if code:
        raise NvmlError(f"{function}: NVML error {code}")


def load_library() -> ctypes.CDLL:
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise NvmlError(str(error)) from None


def if_supported(ask: Callable[[], Any]) -> Any:
    """The answer, None where this GPU has no such thing."""
    try:
        return ask()
    except NotSupportedError:
        return None


def name_reasons(reasons: int) -> list[str]:
    """Why the clock is not higher, in words; an unknown bit as its number."""
    bits = [1 << place for place in range(reasons.bit_length()) if reasons >> place & 1]
    return [THROTTLE_REASONS.get(bit, hex(bit)) for bit in bits]


class Sampler:
    """Asks NVML in a thread of its own, from the start of its `with` block to the end.

    Without a GPU it samples nothing. The first call that fails ends it, except one for what this
    GPU has not.
    """

    def __init__(self, gpu: Gpu | None, interval: float = INTERVAL_SECONDS) -> None:
        self._gpu = gpu
        self._interval = interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._values: dict[str, list[Any]] = {name: [] for name in SAMPLED}
        self._samples = 0
        self._error: str | None = None

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        try:
            while self._gpu is not None:
                self._take_sample(self._gpu)
                if self._ended.wait(self._interval):
                    return
        except NvmlError as error:
            self._error = str(error)

    def _take_sample(self, gpu: Gpu) -> None:
        for name, values in self._values.items():
            try:
                values.append(getattr(gpu, name)())
            except NotSupportedError as error:
                self._error = str(error)
        self._samples += 1

    def summary(self) -> dict[str, Any]:
        clocks, powers, reasons = (self._values[name] for name in SAMPLED)
        all_reasons = reduce(operator.or_, reasons, 0)
        found = {
            "clock_mhz": spread(clocks),
            "power_w": spread(powers),
            "throttle_reasons": name_reasons(all_reasons) if reasons else None,
            "samples": self._samples,
        }
        return found if self._error is None else found | {"nvml_error": self._error}


def spread(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
