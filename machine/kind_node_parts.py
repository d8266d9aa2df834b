"""What a Kind node gets of the GPU driver: mounts, devices, links, modes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

SONAMES = {
    "libEGL_nvidia": "0",
    "libGLESv1_CM_nvidia": "1",
    "libGLESv2_nvidia": "2",
    "libGLX_nvidia": "0",
    "libcuda": "1",
    "libcudadebugger": "1",
    "libnvcuvid": "1",
    "libnvidia-allocator": "1",
    "libnvidia-cfg": "1",
    "libnvidia-encode": "1",
    "libnvidia-fbc": "1",
    "libnvidia-ml": "1",
    "libnvidia-ngx": "1",
    "libnvidia-nvvm": "4",
    "libnvidia-opencl": "1",
    "libnvidia-opticalflow": "1",
    "libnvidia-ptxjitcompiler": "1",
    "libnvidia-sandboxutils": "1",
    "libnvoptix": "1",
    "libvdpau_nvidia": "1",
}
"""Number in the soname of a library whose file is named by the driver's version. Those that are
not here have the version in their soname too, and need no link; ldconfig makes any other."""


@dataclass(frozen=True)
class Mount:
    """One file or folder of the host in the node. optional: left out where the host lacks it."""

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
    """A symbolic link in the node, made unless something is at `path`; target: as it is written
    into the link."""

    target: str
    path: str


@dataclass(frozen=True)
class Mode:
    """Permissions of a folder in the node, octal: "755"."""

    path: str
    mode: str


def soname_links(libraries: Iterable[str], taken: set[str]) -> list[Link]:
    """Links by which programs know the libraries, where nothing else makes them."""
    links = []
    for path in map(PurePosixPath, libraries):
        stem, _, version = path.name.partition(".so.")
        soname = path.with_name(f"{stem}.so.{SONAMES.get(stem, version)}")
        if soname != path and str(soname) not in taken:
            links.append(Link(path.name, str(soname)))
    return links
