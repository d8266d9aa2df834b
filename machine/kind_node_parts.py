"""What a Kind node gets of the GPU driver: mounts, devices, links, modes, as data.

Some of it is what the hooks of a CDI spec would do in a container.
"""

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from machine import cdi

NOT_FOR_NODES = (
    "enable-cuda-compat",
    "disable-device-node-modification",
    "update-application-profile",
)
"""Hooks that do nothing in a node: it has no libraries of a CUDA image and no graphics, and may
make device nodes unless some are hidden from it (NodeNeeds.mask_params)."""
FOLDERS_OF_32_BITS = ("lib32", "i386-linux-gnu")
"""No program of a node or of a pod of ours uses them."""
NUMBERS_OF_SONAMES = {
    "0": ("libEGL_nvidia", "libGLX_nvidia"),
    "1": (
        "libGLESv1_CM_nvidia", "libcuda", "libcudadebugger", "libnvcuvid", "libnvidia-allocator",
        "libnvidia-cfg", "libnvidia-encode", "libnvidia-fbc", "libnvidia-ml", "libnvidia-ngx",
        "libnvidia-opencl", "libnvidia-opticalflow", "libnvidia-ptxjitcompiler",
        "libnvidia-sandboxutils", "libnvoptix", "libvdpau_nvidia",
    ),
    "2": ("libGLESv2_nvidia",),
    "4": ("libnvidia-nvvm",),
}  # fmt: skip
"""Number in the soname → libraries whose file is named by the driver's version. Others have the
version in their soname too, and need no link; ldconfig makes any other."""
SONAMES = {name: number for number, names in NUMBERS_OF_SONAMES.items() for name in names}


@dataclass(frozen=True)
class Mount:
    """A file or folder of the host in the node. optional: left out where the host lacks it."""

    host: str
    container: str
    read_only: bool = True
    optional: bool = False


@dataclass(frozen=True)
class Device:
    """A device node: its path in the node, and on the host."""

    path: str
    host: str


@dataclass(frozen=True)
class Link:
    """A symbolic link, made unless something is at `path`; target: as it is written into it."""

    target: str
    path: str


@dataclass(frozen=True)
class Mode:
    """Permissions of a folder in the node, octal: "755"."""

    path: str
    mode: str


@dataclass
class Hooks:
    """What the hooks of a spec would do. folders: of libraries; notes: what was left out."""

    links: list[Link] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    modes: list[Mode] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, hook: Mapping[str, Any]) -> None:
        """The program is nvidia-cdi-hook, or nvidia-ctk with `hook` before the name."""
        arguments = [str(argument) for argument in hook.get("args") or []][1:]
        if arguments[:1] == ["hook"]:
            arguments = arguments[1:]
        name = arguments[0] if arguments else PurePosixPath(hook["path"]).name
        options, _ = _HOOK_OPTIONS.parse_known_args(arguments[1:])
        match name:
            case "create-symlinks":
                self._add_links(options.link)
            case "update-ldcache":
                self.folders += [f for f in options.folder if f and not of_32_bits(f)]
            case "chmod":
                self.modes += [Mode(path, options.mode) for path in options.path if path]
            case _ if name not in NOT_FOR_NODES:
                self.notes.append(f"hook {name} is not known here and left out")

    def _add_links(self, texts: Iterable[str]) -> None:
        for text in texts:
            target, separator, path = text.partition("::")
            if of_32_bits(path):
                continue
            if separator and path.startswith("/"):
                self.links.append(Link(target, path))
            else:
                self.notes.append(f"link {text!r} of the hook create-symlinks is left out")


_HOOK_OPTIONS = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
for _option in ("--link", "--folder", "--path"):
    _HOOK_OPTIONS.add_argument(_option, action="append", default=[], nargs="?", const="")
_HOOK_OPTIONS.add_argument("--mode", default="755", nargs="?")


def read_hooks(holders: Iterable[Mapping[str, Any]]) -> Hooks:
    hooks = Hooks()
    for holder in holders:
        for hook in cdi.part(holder, "hooks"):
            hooks.add(hook)
    return hooks


def of_32_bits(path: str) -> bool:
    return any(part in FOLDERS_OF_32_BITS for part in PurePosixPath(path).parts)


def soname_links(libraries: Iterable[str], taken: set[str]) -> list[Link]:
    """Links by which programs know the libraries, where nothing else makes them."""
    links = []
    for path in map(PurePosixPath, libraries):
        stem, _, version = path.name.partition(".so.")
        soname = path.with_name(f"{stem}.so.{SONAMES.get(stem, version)}")
        if soname != path and str(soname) not in taken:
            links.append(Link(path.name, str(soname)))
    return links
