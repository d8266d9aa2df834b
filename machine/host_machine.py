"""What a host node changes on its machine: mounts, control groups, kernel settings, folders.

It is noted before and put back after. A folder below which something is still mounted, such as the
machine's GPU driver, is never removed.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from machine import host_places as places
from machine.errors import LabError
from machine.files import make_private_folder
from machine.host_places import CGROUP, NETWORK
from machine.run import run_program

CGROUPS = Path("/sys/fs/cgroup")
DAEMONS = "daemons"
"""Group of the daemons themselves, so that they outlive the session that started them."""
KERNEL = Path("/proc/sys")
FORWARD = "net/ipv4/ip_forward"
SETTINGS = {
    FORWARD: "1",  # the CNI bridge plugin, for a gateway
    "vm/overcommit_memory": "1",  # the kubelet (pkg/kubelet/cm: kernel tunables)
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What a node sets; a setting that has another value by now was set by somebody else."""
INTERFACES = Path("/sys/class/net")
MOUNTS = Path("/proc/self/mountinfo")
OWN = (places.RUNTIME, places.KUBELET, places.STATE)
CNI_NOTES = Path("/var/lib/cni/results")
LOOPBACK = "cni-loopback-*"
LOG_LINKS = Path("/var/log/containers")
SHARED = (places.CDI, CNI_NOTES.parent, LOG_LINKS, Path("/run/containerd"))
"""Made by kubelet, CNI, containerd (the sockets of its shims, wherever its state is) or driver;
removed again if they were not there before."""
PROPAGATION = {"shared": "shared", "master": "slave", "unbindable": "unbindable"}
"""How a mount is shared with other mount namespaces: mountinfo's field, and mount's option."""


def noted() -> dict[str, Any]:
    """What has to be put back: kernel settings, how the root is shared with other mount namespaces,
    and which folders were there."""
    known = [name for name in SETTINGS if (KERNEL / name).exists()]
    return {
        "settings": {name: (KERNEL / name).read_text().strip() for name in known},
        "root": _root_propagation(),
        "folders": [str(folder) for folder in SHARED if folder.exists()],
    }


def put_back(before: dict[str, Any]) -> None:
    _put_back_settings(before["settings"])
    root = before.get("root", "shared")  # nodes of earlier versions did not note it
    if root != "shared" and _root_propagation() == "shared":
        _mount(f"--make-{root}", "/")
    for path in own_files():
        path.unlink()
    if str(CNI_NOTES.parent) not in before["folders"]:
        # containerd's notes on loopback interfaces do not name their pod.
        for path in CNI_NOTES.glob(LOOPBACK):
            path.unlink()
    for folder in SHARED:
        if str(folder) not in before["folders"] and folder.exists():
            _remove_empty(folder)


def _put_back_settings(before: dict[str, str]) -> None:
    others = _others_that_forward()
    for name, value in before.items():
        found = (KERNEL / name).read_text().strip()
        if found == value or found != SETTINGS[name]:
            continue
        if name == FORWARD and others:
            sys.stderr.write(f"{name} stays {found}: {', '.join(others)} may rely on it\n")
        else:
            (KERNEL / name).write_text(value)


def _others_that_forward() -> list[str]:
    """Interfaces for which traffic may be forwarded: bridges of containers and virtual machines,
    and tunnels. Their programs turn forwarding on when they start, and not again later."""
    return sorted(
        path.parent.name
        for path in INTERFACES.glob("*/uevent")
        if path.parent.name not in (places.BRIDGE, places.POD_BRIDGE)
        and (
            path.with_name("bridge").exists()
            or path.with_name("tun_flags").exists()
            or "DEVTYPE=wireguard" in path.read_text().splitlines()
        )
    )


def own_files() -> list[Path]:
    """What pods that ended without their kubelet leave in folders that are not ours."""
    logs = [link for link in LOG_LINKS.glob("*") if link.is_symlink()]
    return [
        *places.CDI.glob(places.CDI_FILES),
        *CNI_NOTES.glob(f"{NETWORK}-*"),
        *(link for link in logs if link.readlink().is_relative_to(places.STATE)),
    ]


def _remove_empty(folder: Path) -> None:
    """Remove a tree of folders, with the sockets of shims that have ended, but no file."""
    for path, _, names in os.walk(folder, topdown=False):
        for socket in (Path(path) / name for name in names):
            if socket.is_socket():
                socket.unlink()
        with suppress(OSError):
            Path(path).rmdir()


def make_folders() -> None:
    """Make the node's own folders, for root only: they hold keys, logs and what pods are given."""
    for folder in OWN:
        make_private_folder(folder)


def share(folder: Path) -> None:
    """Let the node and its other containers see what a container mounts below the folder.

    It is mounted onto itself, so that nothing else of the machine is shared.
    """
    _bind(folder, folder, "--make-rshared")


def bind(source: Path, target: Path) -> None:
    """Show a folder at another place, to be read only."""
    _bind(source, target, "-o", "remount,bind,ro")


def _bind(source: Path, target: Path, *options: str) -> None:
    target.mkdir(parents=True, exist_ok=True)
    if str(target) not in mounts():
        _mount("--bind", str(source), str(target))
        _mount(*options, str(target))


def share_root() -> None:
    """Share the mount at "/", the root of a driver in the usual places; systemd does so anyway.

    Not what is below: a container runtime asks for it of the mount that it hands on.
    """
    if _root_propagation() != "shared":
        _mount("--make-shared", "/")


def _root_propagation() -> str:
    found = "private"
    for line in MOUNTS.read_text().splitlines():
        fields = line.split()
        if fields[4] == "/":
            optional = {field.partition(":")[0] for field in fields[6 : fields.index("-")]}
            found = next((PROPAGATION[key] for key in PROPAGATION if key in optional), "private")
    return found


def mounts() -> list[str]:
    """Where something of the node is mounted, the innermost and newest first."""
    own = [str(folder) for folder in OWN]
    points = [part.mountpoint for part in psutil.disk_partitions(all=True)]
    return [p for p in reversed(points) if any(p == o or p.startswith(f"{o}/") for o in own)]


def unmount() -> None:
    """Unmount all of it, also what was mounted twice. Raises LabError if something stays."""
    for _ in range(3):
        for point in mounts():
            run_program(["umount", "-l", point], check=False)
    if stuck := mounts():
        raise LabError(f"{', '.join(stuck)} cannot be unmounted; run: umount -l {stuck[0]}")


def remove_folders(*folders: Path) -> None:
    """Remove folders of ours, once nothing is mounted there any more."""
    unmount()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            raise LabError(f"{folder} cannot be removed; remove it by hand and try again")


def _mount(*arguments: str) -> None:
    run_program(["mount", *arguments])


def make_groups() -> None:
    """Make the control group of the pods, and one for the daemons beside them."""
    if not unified():
        for hierarchy in _hierarchies():
            (hierarchy / CGROUP).mkdir(exist_ok=True)
        return
    group = CGROUPS / CGROUP
    (group / DAEMONS).mkdir(parents=True, exist_ok=True)
    controllers = (CGROUPS / "cgroup.controllers").read_text().split()
    for parent in (CGROUPS, group):
        given = (parent / "cgroup.subtree_control").read_text().split()
        for controller in controllers:
            if controller not in given:
                (parent / "cgroup.subtree_control").write_text(f"+{controller}")


def take_in(pid: int) -> None:
    """Put a daemon into the daemons' group: the group of a session may end with it."""
    if unified():
        (CGROUPS / CGROUP / DAEMONS / "cgroup.procs").write_text(str(pid))


def unified() -> bool:
    """Whether this machine has control groups of version 2."""
    return (CGROUPS / "cgroup.controllers").exists()


def controllers() -> set[str]:
    """What the kernel can limit in a control group here."""
    if unified():
        return set((CGROUPS / "cgroup.controllers").read_text().split())
    return {name for hierarchy in _hierarchies() for name in hierarchy.name.split(",")}


def _hierarchies() -> Iterator[Path]:
    for part in psutil.disk_partitions(all=True):
        if part.fstype in ("cgroup", "cgroup2") and Path(part.mountpoint).is_relative_to(CGROUPS):
            yield Path(part.mountpoint)


def groups() -> list[Path]:
    """Our groups, innermost first."""
    return [
        Path(path)
        for hierarchy in ([CGROUPS] if unified() else _hierarchies())
        for path, _, _ in os.walk(hierarchy / CGROUP, topdown=False)
    ]


def grouped() -> list[psutil.Process]:
    """Every process in our groups: what runs in the pods, and the daemons."""
    pids = set()
    for group in groups():
        with suppress(OSError):
            pids |= set(map(int, (group / "cgroup.procs").read_text().split()))
    return [process for process in psutil.process_iter(["pid"]) if process.pid in pids]


def remove_groups() -> None:
    for group in groups():
        with suppress(OSError):  # of one with a process in it, which the caller reports
            group.rmdir()
