"""A working lab for Kubernetes Dynamic Resource Allocation on NVIDIA GPUs."""

import pulumi

from components import failures, lab, settings

failures.go_on()
for name, value in lab.build(settings.read()).outputs.items():
    pulumi.export(name, value)
