"""Module 0 on a GPU host: whether this machine can be a node, and its GPUs be given to pods.

Parameters: stack, gpu (whether the lab needs one: a bare cluster does not), networks (as in
Networks).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

from checks.prerequisites import embedded, gpus, host_guards
from checks.result import CheckFailed, Checklist
from machine import cluster_state, host_machine, host_node, host_places
from machine.host_networks import Networks
from toolchain import host

CONTROLLERS = {"cpu", "memory", "pids"}
NEEDED_DISK = 2.0
"""GB: programs, images unpacked, logs; half of it was seen to be used."""


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    checklist = Checklist(module)
    for name, (title, expected, probe, remedy) in _of_machine(parameters).items():
        checklist.verify(name, title, probe, expected=expected, remedy=remedy)
    if parameters["gpu"]:
        gpus.add(checklist, made=cluster_state.is_made(parameters["stack"]))
    return checklist.to_json()


Statement = tuple[str, str, Callable[[], str], str]


def _of_machine(parameters: dict[str, Any]) -> dict[str, Statement]:
    stack, networks = parameters["stack"], Networks(**parameters["networks"])
    disk = embedded.MADE_DISK if cluster_state.is_made(stack) else NEEDED_DISK
    return {
        "host-tools": (
            "the programs and images of the host node are there",
            "all",
            _tools,
            host.REMEDY,
        ),
        "host-free": (
            "this machine has no kubelet yet, and its networks are free",
            "root, no other kubelet or node, no route to the node's networks",
            lambda: host_node.require_usable(stack, networks),
            "see what was found",
        ),
        "host-selinux": (
            "SELinux lets systemd start the node's programs",
            f"{host_guards.PROGRAM_LABEL} where SELinux is enforcing",
            host_guards.selinux,
            host_guards.LABEL_PROGRAMS,
        ),
        "host-firewall": (
            "the firewall lets pods reach the API server",
            "no rule in the way",
            lambda: host_guards.firewall(networks),
            "see what was found",
        ),
        "host-forwarding": (
            "the firewall lets pods reach each other",
            "no rule in the way",
            lambda: host_guards.forwarding(networks),
            "see what was found",
        ),
        "host-cgroups": (
            "the kernel has the control groups that a kubelet needs",
            ", ".join(sorted(CONTROLLERS)),
            _controllers,
            "boot with these controllers on, or give this container its own control groups",
        ),
        "host-disk": (
            f"there is room in {host_places.STATE.parent}",
            f"{disk} GB",
            lambda: _disk(disk),
            "free some room in that file system",
        ),
    }


def _tools() -> str:
    missing = host_node.missing_tools()
    if missing:
        raise CheckFailed(f"missing: {', '.join(missing)}")
    return "all"


def _controllers() -> str:
    found = host_machine.controllers()
    if missing := CONTROLLERS - found:
        raise CheckFailed(f"missing: {', '.join(sorted(missing))}")
    return f"version {2 if host_machine.unified() else 1}: {', '.join(sorted(found))}"


def _disk(needed: float) -> str:
    free = shutil.disk_usage(host_places.STATE.parent).free / 1e9
    if free < needed:
        raise CheckFailed(f"{free:.1f} GB free")
    return f"{free:.1f} GB free"
