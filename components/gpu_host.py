"""What nodes in containers need of this machine's GPU driver, read from its CDI spec."""

import json
from pathlib import Path
from typing import Any

import pulumi

from components import program
from components.settings import Settings

KERNEL_DRIVER = Path("/proc/driver/nvidia/version")


def kernel_driver() -> str:
    """The first line of what the loaded driver says of itself, "" where none is loaded: another
    driver has other libraries, so the host is asked again."""
    try:
        return KERNEL_DRIVER.read_text().partition("\n")[0]
    except OSError:
        return ""


class GpuHost(pulumi.ComponentResource):
    """Asked once, before the cluster is made, and again when the driver is another.

    facts: driver, GPUs and strategy, which the stack exports; workers: for each its GPUs; uuids: of
    the GPUs that are given to them; gpus_per_worker: how many each has; asked: by which the machine
    is asked again what the nodes need of it, with a digest of that.
    """

    def __init__(self, settings: Settings, opts: pulumi.ResourceOptions) -> None:
        super().__init__("dra-workshop:node:GpuHost", "gpu-host", None, opts)
        asked = {
            "mounts": settings.gpu_mounts,
            "subsets": [list(subset) for subset in settings.gpu_subsets],
            "driver": kernel_driver(),
        }
        command = program.run(
            "gpu-host",
            "operations gpu-host",
            # Its output of before there was a digest is not to be kept: another input, another run.
            asked | {"tells": ["needs"]},
            pulumi.ResourceOptions(parent=self, depends_on=opts.depends_on),
        )
        found: pulumi.Output[dict[str, Any]] = command.stdout.apply(json.loads)
        self.workers: pulumi.Output[list[dict[str, Any]]] = found["workers"]
        needs = found.apply(lambda printed: printed.get("needs", ""))
        self.asked: pulumi.Output[dict[str, Any]] = pulumi.Output.all(needs=needs, **asked)
        self.facts: pulumi.Output[dict[str, Any]] = found["facts"]
        self.uuids: pulumi.Output[list[str]] = found["uuids"]
        self.gpus_per_worker = self.workers.apply(lambda workers: len(workers[0]["gpus"]))
        self.register_outputs({"facts": self.facts})
