"""Module 0: what this machine needs, verified before anything is made."""

from pathlib import Path

from components.check import Check, ModuleComponent
from components.gpu_host import KERNEL_DRIVER
from components.lab_context import LabContext
from components.modules.registry import Module
from components.runs import run_of
from machine import cluster_state

OBSERVED = (Path(".tools/placed.json"), KERNEL_DRIVER, Path("/proc/sys/kernel/random/boot_id"))
"""Files that change with what was verified: the tools that set-up placed, the GPU driver that is
loaded, the start of this machine."""


def build(lab: LabContext) -> list[Check]:
    component = ModuleComponent(MODULE, lab.checks)
    stack = lab.settings.stack
    observed = [path for path in OBSERVED if path.is_file()]
    # Without a cluster there is none that could be started again.
    start_id = cluster_state.of(stack) if lab.has("1") else ""
    return [
        Check(component, run=run_of(stack, program, start_id, observed), parameters=parameters)
        for program, parameters in lab.kind.prerequisites(lab)
    ]


MODULE = Module(
    id="0",
    stack="module0",
    title="Prerequisites",
    shows="what this machine has, what is missing, and how to fix it",
    seconds=2,
    build=build,
)
