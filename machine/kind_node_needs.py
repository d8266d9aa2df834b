"""What a Kind node needs of the host's GPU driver, read from its CDI spec and from no list of ours.

A node is a Debian container that docker runs privileged: it has the host's device nodes, and
nothing of the driver, which NVIDIA's kubelet plugin looks for where distributions have it under
"/". With the strategy `cdi` libraries are mounted where Debian keeps them, wherever the host does,
and programs in /usr/bin. With `toolkit` NVIDIA's container runtime, if it is docker's default, puts
the driver into the node: a mount of /dev/null at a path that names a GPU asks it to.

All of it is data and pure, but for `settled`, which looks whether files exist.
"""

import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from machine import cdi
from machine.errors import LabError
from machine.kind_node_parts import Device, Link, Mode, Mount, of_32_bits, read_hooks, soname_links

STRATEGIES = ("toolkit", "cdi")
ASK_TOOLKIT = "/var/run/nvidia-container-devices"
"""A mount below it names a GPU to NVIDIA's runtime (its option
accept-nvidia-visible-devices-as-volume-mounts)."""
PROGRAMS = "/usr/bin"
LIBRARIES = {"x86_64": "/usr/lib/x86_64-linux-gnu", "aarch64": "/usr/lib/aarch64-linux-gnu"}
"""Where Debian has libraries, by machine: its ldconfig and NVIDIA's plugin look there."""
ALSO_SEARCHED = PurePosixPath("/usr/lib64")
"""Beside Debian's places (the plugin's hack/kubelet-plugin-prestart.sh)."""
MPS_PIPES = "nvidia-mps"
RUNTIME_FOLDERS = ("/run/", "/var/run/")
WSL_DEVICE = "/dev/dxg"
NOT_ON_WSL = "this is WSL2's driver, which NVIDIA's DRA driver does not support"
NIX = "/nix/store/"
NO_LOADER = "programs from /nix/store are mounted without their loader and will not run in the node"
LINKED_INTO_USR = ("/bin/", "/sbin/", "/lib/", "/lib64/", "/lib32/")
LIBRARIES_OF_DRIVER = ("libcuda.so.", "libnvidia-ml.so.")
Spec = Mapping[str, Any]


@dataclass(frozen=True)
class NodeNeeds:
    """What is mounted when a node is made, and what is done in it afterwards.

    mounts: also device nodes that have another path on the host.
    devices: nodes that must be in the node's /dev; docker gives a privileged container all that
    the host has when it starts.
    hidden: nodes of GPUs that this node is not to have: they are removed from its /dev.
    folders: where ldconfig is to look, all paths in the node; then it is run.
    mask_params: /proc/driver/nvidia/params is covered by a copy that says ModifyDeviceFiles: 0,
    else the driver's libraries make hidden device nodes anew.
    driver_root: in the node.
    notes: what was left out, and why; what else a person should know.
    """

    strategy: str
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    hidden: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    modes: tuple[Mode, ...] = ()
    folders: tuple[str, ...] = ()
    mask_params: bool = False
    driver_root: str = "/"
    notes: tuple[str, ...] = ()


def for_node(
    spec: Spec, gpus: Sequence[str] = (), strategy: str = "cdi", *, machine: str = ""
) -> NodeNeeds:
    """What a Kind node needs to have these GPUs of a valid spec.

    gpus: indices or UUIDs as the spec names them; none: all.
    machine: as `uname -m` prints it, this one's if empty.
    Raises LabError for a GPU that the spec does not name, or an unknown strategy.
    """
    if strategy not in STRATEGIES:
        raise LabError(f"strategy {strategy!r} is not one of {', '.join(STRATEGIES)}")
    chosen, others = _choose(spec, gpus)
    holders = [spec, *chosen]
    devices = _read_devices(holders)
    paths = {device.path for device in devices}
    hidden = {device.path for device in _read_devices(others)} - paths
    needs = NodeNeeds(
        strategy,
        devices=devices,
        hidden=tuple(sorted(hidden)),
        mask_params=bool(hidden),
        notes=(*read_hooks(holders).notes, *([NOT_ON_WSL] if WSL_DEVICE in paths else [])),
    )
    if strategy == "toolkit":
        return _by_toolkit(needs, gpus, unsearched(spec, machine))
    return _by_mounts(needs, holders, _Places.of(holders, machine))


def _choose(spec: Spec, gpus: Sequence[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The entries of the spec for these GPUs, and all of which some may have to be hidden."""
    entries: list[dict[str, Any]] = spec["devices"]
    by_name = {entry["name"]: entry for entry in entries}
    if not gpus or cdi.ALL in gpus:
        return ([by_name[cdi.ALL]] if cdi.ALL in by_name else entries), []
    for gpu in gpus:
        if gpu not in by_name:
            raise LabError(
                f"the CDI spec names no GPU {gpu!r}; it has {', '.join(by_name)}",
                "use one of these names; or, for UUIDs, "
                f"{cdi.GENERATE} --device-name-strategy=index --device-name-strategy=uuid",
            )
    return [by_name[gpu] for gpu in dict.fromkeys(gpus)], entries


def _read_devices(holders: Iterable[Spec]) -> tuple[Device, ...]:
    nodes = {
        node["path"]: Device(node["path"], node.get("hostPath") or node["path"])
        for holder in holders
        for node in cdi.part(holder, "deviceNodes")
    }
    return tuple(nodes[path] for path in sorted(nodes))


def _read_mounts(holders: Iterable[Spec]) -> list[dict[str, Any]]:
    mounts = (mount for holder in holders for mount in cdi.part(holder, "mounts"))
    return [mount for mount in mounts if not of_32_bits(mount["containerPath"])]


@dataclass(frozen=True)
class _Places:
    """Where files of the driver lie in a node. roots: the driver's folders of libraries, as the
    spec has them in containers, inner ones first; libraries: the node's, "" where none is moved."""

    roots: tuple[PurePosixPath, ...]
    libraries: str

    @staticmethod
    def of(holders: Sequence[Spec], machine: str) -> "_Places":
        """Every folder that itself holds a library of the driver is a root, and each that ldconfig
        is to look in, if it is not inside another. WSL2's libraries find each other by the path
        that they have, and stay there."""
        if any(device.path == WSL_DEVICE for device in _read_devices(holders)):
            return _Places((), "")
        paths = [_merge_usr(mount["containerPath"]) for mount in _read_mounts(holders)]
        main = [path.parent for path in paths if path.name.startswith(LIBRARIES_OF_DRIVER)]
        searched = list(map(_merge_usr, read_hooks(holders).folders))
        outer = [s for s in searched if not any(o in s.parents for o in (*main, *searched))]
        inner_first = sorted({*main, *outer}, key=lambda root: (-len(root.parts), root))
        known = LIBRARIES.get(machine or platform.machine(), LIBRARIES["x86_64"])
        return _Places(tuple(inner_first), known)

    def file(self, path: str) -> str:
        """A container's path of a file, as the node has it."""
        pure = _merge_usr(path)
        if ".so" in pure.name or pure in self.roots:
            return self.folder(path)
        is_program = pure.parent.name in ("bin", "sbin") and pure.name.startswith("nvidia-")
        return f"{PROGRAMS}/{pure.name}" if self.libraries and is_program else path

    def folder(self, path: str) -> str:
        """A folder of libraries, as the node has it."""
        pure = _merge_usr(path)
        for root in self.roots:
            if pure.is_relative_to(root):
                return str(PurePosixPath(self.libraries) / pure.relative_to(root))
        return path

    def link(self, link: Link) -> Link:
        """A link of a container, as the node has it."""
        path, target = self.file(link.path), self.file(_follow(link))
        unchanged = Link(link.target, path)
        return unchanged if _follow(unchanged) == target else Link(target, path)


def _follow(link: Link) -> str:
    return os.path.normpath(PurePosixPath(link.path).parent / link.target)


def _merge_usr(path: str) -> PurePosixPath:
    """The path where /bin, /lib and the like are links into /usr, as with all these systems."""
    return PurePosixPath(f"/usr{path}" if path.startswith(LINKED_INTO_USR) else path)


def unsearched(spec: Spec, machine: str = "") -> tuple[str, ...]:
    """Folders of the driver in which NVIDIA's plugin would not look in a node, if the toolkit
    leaves them where the host has them; so it does from 1.18 on, before it used Debian's."""
    places = _Places.of([spec], machine)
    paths = [_merge_usr(mount["containerPath"]) for mount in _read_mounts([spec])]
    moved = [path for path in paths if places.file(str(path)) != str(path)]
    return tuple(sorted({str(p.parent) for p in moved if ALSO_SEARCHED not in p.parents}))


def _by_toolkit(needs: NodeNeeds, gpus: Sequence[str], odd: Sequence[str]) -> NodeNeeds:
    note = (
        f"NVIDIA's plugin does not look for the driver in {', '.join(odd)}, where NVIDIA's "
        "toolkit from 1.18 on leaves it: choose the strategy cdi"
    )
    asked = tuple(Mount("/dev/null", f"{ASK_TOOLKIT}/{gpu}") for gpu in gpus or (cdi.ALL,))
    return replace(needs, mounts=asked, notes=(*needs.notes, *([note] if odd else [])))


def _by_mounts(needs: NodeNeeds, holders: Sequence[Spec], places: _Places) -> NodeNeeds:
    hooks = read_hooks(holders)
    mounts, notes = _place_mounts(_read_mounts(holders), places)
    if _lacks_loader(mounts.values()):
        notes.append(NO_LOADER)
    for device in needs.devices:
        if device.host != device.path:
            mounts[device.path] = Mount(device.host, device.path, read_only=False)
    links = {
        link.path: link
        for link in map(places.link, hooks.links)
        # Files of several folders are in one now, where a link from one to another is the file.
        if link.path not in mounts and _follow(link) != link.path
    }
    libraries = [path for path in mounts if ".so." in PurePosixPath(path).name]
    folders = filter(None, (places.libraries, *map(places.folder, hooks.folders)))
    return replace(
        needs,
        mounts=tuple(mounts[path] for path in sorted(mounts)),
        links=(*links.values(), *soname_links(libraries, {*mounts, *links})),
        modes=tuple(hooks.modes),
        folders=tuple(dict.fromkeys(folders)),
        notes=(*needs.notes, *notes),
    )


def _place_mounts(entries: Iterable[Spec], places: _Places) -> tuple[dict[str, Mount], list[str]]:
    mounts: dict[str, Mount] = {}
    notes = []
    for entry in entries:
        host, container = entry["hostPath"], places.file(entry["containerPath"])
        name = PurePosixPath(host).name
        if name == MPS_PIPES:
            notes.append(
                f"{host} is not mounted: every container of the node would silently become a "
                "client of the host's MPS daemon"
            )
        elif container in mounts and mounts[container].host != host:
            notes.append(f"{host} is left out: {mounts[container].host} is at {container}")
        else:
            of_daemon = host.startswith(RUNTIME_FOLDERS) and name == "socket"
            read_only = "rw" not in (entry.get("options") or [])
            mounts[container] = Mount(host, container, read_only, optional=of_daemon)
    return mounts, notes


def _lacks_loader(mounts: Iterable[Mount]) -> bool:
    """Programs of NixOS name their own C library, which its module mounts as a folder."""
    of_nix = [mount for mount in mounts if mount.host.startswith(NIX)]
    programs = any(mount.container.startswith(PROGRAMS) for mount in of_nix)
    return programs and not any("glibc" in mount.host for mount in of_nix)


def is_there(path: str) -> bool:
    """Whether there is such a file or folder; a folder in the place of a library is what docker
    made for an earlier mount of a library that was missing."""
    found = Path(path)
    return found.is_file() if ".so" in found.name else found.exists()


def settled(needs: NodeNeeds, exists: Callable[[str], bool] = is_there) -> NodeNeeds:
    """The needs without the optional files that this machine lacks, each of which is noted.

    Raises LabError, naming them, if others are missing: for a mount whose source is missing
    docker silently makes a folder of that name, on the host too.
    """
    missing = [mount for mount in needs.mounts if not exists(mount.host)]
    if needed := [mount.host for mount in missing if not mount.optional]:
        more = f" and {len(needed) - 3} more" if len(needed) > 3 else ""
        raise LabError(
            "the CDI spec names files that do not exist, or are folders: "
            f"{', '.join(needed[:3])}{more}",
            f"the driver was changed after the spec was written; {cdi.GENERATE}",
        )
    notes = [f"{mount.host} is left out: it does not exist" for mount in missing]
    return replace(
        needs,
        mounts=tuple(mount for mount in needs.mounts if mount not in missing),
        notes=(*needs.notes, *notes),
    )
