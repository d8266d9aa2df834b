"""Module 0 on a GPU host: whether this machine can be a node, and its GPUs be given to pods.

Parameters: stack, gpu (whether the lab needs one: a bare cluster does not), gpus (real or mocked),
networks (as in Networks).
"""

from functools import partial
from typing import Any

from checks.prerequisites import embedded, gpus, host_guards, mocked_driver, statements
from checks.prerequisites.statements import refuse, require_free
from checks.result import Checklist
from machine import cluster_state, host_machine, host_node, host_places
from machine.host_networks import Networks
from toolchain import host

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
}
REMEDIES = {
    "host-tools": host.REMEDY,
    "host-free": SEE,
    "host-selinux": host_guards.LABEL_PROGRAMS,
    "host-firewall": SEE,
    "host-forwarding": SEE,
    "host-cgroups": "boot with these controllers on, or give this container its own control groups",
    "host-disk": "free some room in that file system",
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
    if parameters["gpus"] == "mocked":
        mocked_driver.add(checklist)
    elif parameters["gpu"]:
        gpus.add(checklist, made=made)
    return checklist.to_json()


def _controllers() -> str:
    found = host_machine.controllers()
    refuse(sorted(CONTROLLERS - found), "missing: ")
    return f"version {2 if host_machine.unified() else 1}: {', '.join(sorted(found))}"
