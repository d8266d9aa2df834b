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
MOCK = re.compile(r"GPU_DEVICE_\d+")
"""Environment variable by which the example driver's CDI specs name a device."""


def inspect() -> dict[str, Any]:
    """gpus: CUDA's, each with its UUID and the number of its /dev/nvidiaN; libcuda: whether it
    can be loaded; mocks: names of devices that Kubernetes' example driver gave; error: why CUDA or
    NVML could not list the GPUs."""
    found: dict[str, Any] = {
        "program": "inspect_gpu",
        "began": time.time(),
        "device_files": sorted(path.name for path in DEVICES.glob("nvidia*")),
        "libcuda": False,
        "mocks": sorted(value for name, value in os.environ.items() if MOCK.fullmatch(name)),
        "gpus": [],
    }
    try:
        driver = cuda_driver.Driver()
        found["libcuda"] = True
        for index in range(cuda_driver.device_count(driver)):
            uuid = cuda_driver.Device(driver, index).uuid
            found["gpus"].append({"uuid": uuid, "minor": nvml.Gpu(uuid).minor()})
    except (cuda_driver.CudaError, nvml.NvmlError) as error:
        found["error"] = str(error)
    return found


def main() -> int:
    print(json.dumps(inspect()), flush=True)  # noqa: T201
    return hold.main()


if __name__ == "__main__":
    sys.exit(main())
