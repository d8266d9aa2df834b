"""The node that this machine is for a lab: its owner, who may have it, what remains of it."""

import os
from pathlib import Path
from typing import Any

import psutil

from machine import host_bridge, host_machine, identity
from machine import host_places as places
from machine.errors import LabError
from machine.files import read_json
from machine.host_networks import Networks
from toolchain import host
from toolchain.layout import ROOT

TOOLS = Path(".tools")
SYSTEMD = Path("/run/systemd/system")


def facts_of(stack: str) -> dict[str, Any]:
    """The facts of the stack's node, {} without one."""
    return identity.facts(stack, places.FACTS)


def owner() -> dict[str, Any]:
    """Stack, checkout and lab that have the node of this machine, {} where there is none."""
    return read_json(places.OWNER)


def is_ours(stack: str) -> bool:
    """Whether the node is that of the stack's lab, which may have been moved since."""
    known = owner()
    if known.get("stack") != stack:
        return False
    here, made_here = known["project"] == str(ROOT), bool(facts_of(stack))
    if "lab" in known:  # the id is another after the state was lost
        return known["lab"] == identity.known(stack) or (here and made_here)
    moved = not Path(known["project"]).exists() and made_here
    return here or moved


def require_usable(stack: str, networks: Networks) -> str:
    """Raise LabError, with the remedy, unless this machine can have this stack's node."""
    if os.name != "posix" or os.geteuid() != 0:
        raise LabError("a host node needs root; run the same command with sudo")
    known = owner()
    if known and not is_ours(stack) and Path(known["project"]).exists():
        raise LabError(
            f"the host node of this machine belongs to stack {known['stack']} of "
            f"{known['project']}; remove it there: make destroy STACK={known['stack']}"
        )
    ours = {process.pid for process in places.processes()}
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "kubelet" and process.pid not in ours:
            raise LabError(
                f"a kubelet runs here already (process {process.pid}); use its cluster, or a "
                "machine without one"
            )
    if not known and places.KUBELET.exists() and any(places.KUBELET.iterdir()):
        raise LabError(
            f"{places.KUBELET} holds files of another kubelet; if it is not used any more, "
            "move it away"
        )
    return host_bridge.require_free(networks)


def missing_tools() -> list[str]:
    """The tools of a host node that set-up has yet to install."""
    return host.missing(TOOLS)


def leftovers() -> list[str]:
    """What remains of a node that was removed, for a person."""
    return [
        *(f"process {process.pid}" for process in places.processes()),
        *(f"mount {point}" for point in host_machine.mounts()),
        *(f"interface {name}" for name in host_bridge.remaining()),
        *(f"group {group}" for group in host_machine.groups()),
        *(f"file {path}" for path in host_machine.own_files()),
    ]
