"""What a pod sees of GPUs: device files, CUDA's devices. Prints it as a line of JSON, then holds.

The line comes before hold.py's; it needs Python 3.9, no package and no privilege. A pod without a
claim is not an error: it sees nothing, and says why CUDA cannot be loaded.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from workloads import cuda_driver, hold, nvml
else:  # in a pod, where the files lie side by side
    import cuda_driver
    import hold
    import nvml

DEVICES = Path("/dev")
MOUNTS = Path("/proc/self/mountinfo")
LIBRARIES = ("libcuda.so.", "libnvidia-ml.so.")
MOCK = re.compile(r"GPU_DEVICE_\d+")
"""Environment variable by which the example driver's CDI specs name a device."""


def inspect() -> dict[str, Any]:
    """gpus: CUDA's, or NVML's where they are mocked, each with its UUID and the number of its
    /dev/nvidiaN; libcuda: whether it can be loaded; libraries: the driver's, as they are mounted;
    environment: what CDI specs say of GPUs; mocks: names of devices that Kubernetes' example driver
    gave; mocked: what CUDA says of mocked GPUs; error: why CUDA or NVML could not list the GPUs."""
    found: dict[str, Any] = {
        "program": "inspect_gpu",
        "began": time.time(),
        "device_files": sorted(path.name for path in DEVICES.glob("nvidia*")),
        "libcuda": False,
        "libraries": mounted_libraries(),
        "environment": {key: each for key, each in os.environ.items() if key.startswith("NVIDIA_")},
        "mocks": sorted(value for name, value in os.environ.items() if MOCK.fullmatch(name)),
        "gpus": [],
    }
    try:
        driver = cuda_driver.Driver()
        found["libcuda"] = True
        found["gpus"] = [
            {"uuid": gpu.uuid, "minor": gpu.minor()} for gpu in list_gpus(driver, found)
        ]
    except (cuda_driver.CudaError, nvml.NvmlError) as error:
        found["error"] = str(error)
    return found


def mounted_libraries() -> list[str]:
    """The names of those of the GPU driver that are mounted here, each by itself."""
    mounts = (Path(line.split()[4]) for line in MOUNTS.read_text().splitlines())
    return sorted(path.name for path in mounts if path.name.startswith(LIBRARIES))


def list_gpus(driver: cuda_driver.Driver, found: dict[str, Any]) -> list[nvml.Gpu]:
    try:
        uuids = [
            cuda_driver.Device(driver, index).uuid
            for index in range(cuda_driver.device_count(driver))
        ]
    except cuda_driver.MockedGpuError as error:
        found["mocked"] = str(error)
        return nvml.every_gpu()
    return [nvml.Gpu(uuid) for uuid in uuids]


def main() -> int:
    print(json.dumps(inspect()), flush=True)  # noqa: T201
    return hold.main()


if __name__ == "__main__":
    sys.exit(main())
