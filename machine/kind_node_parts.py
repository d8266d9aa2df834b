"""What a Kind node gets of the GPU driver: mounts, devices, links, modes."""

from __future__ import annotations

from dataclasses import dataclass


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
