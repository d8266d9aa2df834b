"""Asks a stand-in for NVML, in a process of its own, as wrong C ends the process that called it.

`python ask_nvml.py LIBRARY` prints what it answers, as one JSON object.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from typing import Any

TEXT = 96


class MemoryInfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


class AddressingMode(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint) for name in ("version", "value")]


class PciInfo(ctypes.Structure):
    _fields_ = [
        ("legacy_id", ctypes.c_char * 16),
        *((name, ctypes.c_uint) for name in ("domain", "bus", "device", "device_id", "subsystem")),
        ("id", ctypes.c_char * 32),
    ]


class EventData(ctypes.Structure):
    _fields_ = [
        ("device", ctypes.c_void_p),
        ("type", ctypes.c_ulonglong),
        ("data", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    ]


class Nvml:
    def __init__(self, path: str) -> None:
        self.library = ctypes.CDLL(path)

    def code(self, name: str, *arguments: Any) -> int:
        return int(getattr(self.library, f"nvml{name}")(*arguments))

    def value(self, name: str, *arguments: Any, kind: Any = ctypes.c_uint) -> Any:
        """What a call puts where its last argument points to; the code if it is not 0."""
        answer = kind()
        code = self.code(name, *arguments, ctypes.byref(answer))
        if code:
            return {"code": code}
        return answer if issubclass(kind, ctypes.Structure) else answer.value

    def text(self, name: str, *arguments: Any, size: int = TEXT) -> Any:
        buffer = ctypes.create_string_buffer(size)
        code = self.code(name, *arguments, buffer, ctypes.c_uint(size))
        return {"code": code} if code else buffer.value.decode()

    def gpu(self, handle: ctypes.c_void_p) -> dict[str, Any]:
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.code(
            "DeviceGetCudaComputeCapability", handle, ctypes.byref(major), ctypes.byref(minor)
        )
        memory = self.value("DeviceGetMemoryInfo", handle, kind=MemoryInfo)
        mode = self.value("DeviceGetAddressingMode", handle, kind=AddressingMode)
        pci = self.value("DeviceGetPciInfo_v3", handle, kind=PciInfo)
        pair = ctypes.c_uint(), ctypes.c_uint()
        return {
            "uuid": self.text("DeviceGetUUID", handle),
            "product": self.text("DeviceGetName", handle),
            "index": self.value("DeviceGetIndex", handle),
            "minor": self.value("DeviceGetMinorNumber", handle),
            "memory": memory if isinstance(memory, dict) else [memory.total, memory.free],
            "architecture": self.value("DeviceGetArchitecture", handle),
            "brand": self.value("DeviceGetBrand", handle),
            "compute_capability": f"{major.value}.{minor.value}",
            "addressing": mode if isinstance(mode, dict) else mode.value,
            "pci": [pci.id.decode(), pci.legacy_id.decode(), pci.domain, pci.bus, pci.device],
            "compute_mode": self.value("DeviceGetComputeMode", handle),
            "mig_mode": self.code("DeviceGetMigMode", handle, *map(ctypes.byref, pair)),
            "is_mig": self.value("DeviceIsMigDeviceHandle", handle),
            "most_migs": self.value("DeviceGetMaxMigDeviceCount", handle),
            "mig_profile": self.code(
                "DeviceGetGpuInstanceProfileInfo", handle, 0, ctypes.byref(pair[0])
            ),
            "clock": self.value("DeviceGetClockInfo", handle, 1),
            "clock_max": self.value("DeviceGetMaxClockInfo", handle, 1),
            "power": self.value("DeviceGetPowerUsage", handle),
            "throttle": self.value(
                "DeviceGetCurrentClocksThrottleReasons", handle, kind=ctypes.c_ulonglong
            ),
            "same_by_uuid": self.handle_of(str(self.text("DeviceGetUUID", handle))) == handle.value,
        }

    def handle(self, index: int) -> ctypes.c_void_p:
        found = ctypes.c_void_p()
        self.code("DeviceGetHandleByIndex_v2", index, ctypes.byref(found))
        return found

    def handle_of(self, uuid: str) -> Any:
        return self.value("DeviceGetHandleByUUID", uuid.encode(), kind=ctypes.c_void_p)

    def events(self) -> list[Any]:
        """All events, each with its GPU, its XID and its type, until none comes."""
        handles = {
            self.handle(index).value: index for index in range(self.value("DeviceGetCount_v2"))
        }
        events = ctypes.c_void_p()
        codes = [self.code("EventSetCreate", ctypes.byref(events))]
        for handle in map(ctypes.c_void_p, handles):
            types = self.value("DeviceGetSupportedEventTypes", handle, kind=ctypes.c_ulonglong)
            codes.append(
                self.code("DeviceRegisterEvents", handle, ctypes.c_ulonglong(types), events)
            )
        found: list[Any] = []
        began = time.monotonic()
        while True:
            event = EventData()
            code = self.code("EventSetWait_v2", events, ctypes.byref(event), 250)
            if code:
                codes.append(self.code("EventSetFree", events))
                return [*found, {"code": code, "waited": time.monotonic() - began, "codes": codes}]
            found.append([handles[event.device], event.data, event.type, event.gpu_instance])


def answers(path: str) -> dict[str, Any]:
    nvml = Nvml(path)
    began = nvml.code("Init_v2")
    version = ctypes.c_int()
    nvml.code("SystemGetCudaDriverVersion_v2", ctypes.byref(version))
    nvml.library.nvmlErrorString.restype = ctypes.c_char_p
    told: dict[str, Any] = {
        "init": began,
        "init_with_flags": nvml.code("InitWithFlags", 1),
        "driver": nvml.text("SystemGetDriverVersion"),
        "nvml": nvml.text("SystemGetNVMLVersion"),
        "cuda": version.value,
        "errors": [nvml.library.nvmlErrorString(code).decode() for code in (0, 3, 9, 10, 77)],
        "count": nvml.value("DeviceGetCount_v2"),
    }
    told["gpus"] = [nvml.gpu(nvml.handle(index)) for index in range(told["count"])]
    if told["count"]:
        first = nvml.handle(0)
        inside = ctypes.c_void_p(first.value + 1 if first.value else 1)
        uuid_length = len(told["gpus"][0]["uuid"])
        told["bad"] = {
            "no_such_index": nvml.value(
                "DeviceGetHandleByIndex_v2", told["count"], kind=ctypes.c_void_p
            ),
            "no_such_uuid": nvml.handle_of("GPU-none"),
            "no_handle": nvml.text("DeviceGetName", None),
            "half_a_handle": nvml.text("DeviceGetName", inside),
            "no_buffer": nvml.code("DeviceGetName", first, None, 96),
            "nowhere": nvml.code("DeviceGetMemoryInfo", first, None),
            "one_too_short": nvml.text("DeviceGetUUID", first, size=uuid_length),
            "just_enough": nvml.text("DeviceGetUUID", first, size=uuid_length + 1),
            "version_too_short": nvml.text("SystemGetDriverVersion", size=4),
        }
        told["events"] = nvml.events()
    told["shutdown"] = nvml.code("Shutdown")
    return told


if __name__ == "__main__":
    print(json.dumps(answers(sys.argv[1])))  # noqa: T201
