"""A working lab for Kubernetes Dynamic Resource Allocation on NVIDIA GPUs."""

import pulumi

from components import lab, settings

for name, value in lab.build(settings.read()).items():
    pulumi.export(name, value)
