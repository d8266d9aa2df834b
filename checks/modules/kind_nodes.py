"""Module 1 on nodes in containers: each has exactly the GPUs that it was given.

Parameters: nodes (node → UUIDs of its GPUs).
"""

from functools import partial
from typing import Any

from checks.result import Checklist
from machine.kind_gpus import require_gpus


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    checklist = Checklist(module)
    for node, uuids in parameters["nodes"].items():
        checklist.verify(
            f"gpus-in-{node}",
            "nvidia-smi runs in the node and sees exactly its GPUs",
            partial(require_gpus, node, uuids),
            expected=", ".join(sorted(uuids)),
            remedy="set gpuMounts to the other of toolkit and cdi; after a driver update make the "
            "cluster anew",
        )
    return checklist.to_json()
