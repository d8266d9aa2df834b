"""Module 0 on a GPU host: whether this machine can be a node, and its GPUs be given to pods.

Parameters: stack, gpu (whether the lab needs one: a bare cluster does not), gpus (real or mocked),
networks (as in Networks).
"""

from functools import partial
from typing import Any

from checks.prerequisites import embedded, gpus, host_guards, statements
from checks.prerequisites.statements import refuse, require_free
from checks.result import CheckFailed, Checklist
from machine import cluster_state, gpu_host, host_machine, host_node, host_places
from machine.host_networks import Networks
from toolchain import host
from toolchain.errors import SetupError
from toolchain.mocked_driver import build

CONTROLLERS = {"cpu", "memory", "pids"}
NEEDED_DISK = 2.0
"""GB: programs, images unpacked, logs; half of it was seen to be used."""
SEE = "see what was found"
TITLES = {
    "host-tools": "the programs and images of the host node are installed",
    "host-free": "this machine has no other kubelet, and the node's networks are free",
    "host-selinux": "SELinux lets systemd start the node's programs",
    "host-firewall": "the firewall lets pods reach the API server",
    "host-forwarding": "the firewall lets pods reach each other",
    "host-cgroups": "the kernel has the control groups that a kubelet needs",
    "host-disk": f"there is room in {host_places.STATE.parent}",
    "mocked-driver": "the mocked GPU driver can be compiled",
    "no-gpu-driver": "this machine has no GPU that mocked ones could be taken for",
}
REMEDIES = {
    "host-tools": host.REMEDY,
    "host-free": SEE,
    "host-selinux": host_guards.LABEL_PROGRAMS,
    "host-firewall": SEE,
    "host-forwarding": SEE,
    "host-cgroups": "boot with these controllers on, or give this container its own control groups",
    "host-disk": "free some room in that file system",
    "mocked-driver": SEE,
    "no-gpu-driver": "set gpus=real, or use a machine without a GPU driver",
}


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    checklist = Checklist(module)
    verify = partial(statements.verify, checklist, TITLES, REMEDIES)
    stack, networks = parameters["stack"], Networks(**parameters["networks"])
    made = cluster_state.is_made(stack)
    verify("host-tools", lambda: refuse(host_node.missing_tools(), "missing: "), "all")
    free = "root, no other kubelet or node, no route to the node's networks"
    verify("host-free", lambda: host_node.require_usable(stack, networks), free)
    labelled = f"{host_guards.PROGRAM_LABEL} where SELinux is enforcing"
    verify("host-selinux", host_guards.selinux, labelled)
    verify("host-firewall", lambda: host_guards.firewall(networks), "no rule in the way")
    verify("host-forwarding", lambda: host_guards.forwarding(networks), "no rule in the way")
    verify("host-cgroups", _controllers, ", ".join(sorted(CONTROLLERS)))
    disk = embedded.MADE_DISK if made else NEEDED_DISK
    verify("host-disk", lambda: require_free(host_places.STATE.parent, disk), f"{disk} GB")
    if parameters["gpu"] and parameters["gpus"] == "mocked":
        verify("mocked-driver", _compiler, "a C compiler")
        found = [str(path) for path in gpu_host.KERNEL_DRIVER if path.exists()]
        verify("no-gpu-driver", lambda: refuse(found, "a GPU driver is loaded: "), "none")
    elif parameters["gpu"]:
        gpus.add(checklist, made=made)
    return checklist.to_json()


def _compiler() -> str:
    try:
        return "compiled" if build.place().exists() else " ".join(build.require_compiler())
    except SetupError as error:
        raise CheckFailed(str(error)) from error


def _controllers() -> str:
    found = host_machine.controllers()
    refuse(sorted(CONTROLLERS - found), "missing: ")
    return f"version {2 if host_machine.unified() else 1}: {', '.join(sorted(found))}"
