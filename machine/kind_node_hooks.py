"""What the hooks of a CDI spec would do in a container, as data for a Kind node."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from machine import cdi
from machine.kind_node_parts import Link, Mode

NOT_FOR_NODES = (
    "enable-cuda-compat",
    "disable-device-node-modification",
    "update-application-profile",
)
"""Hooks that do nothing in a node: it has no libraries of a CUDA image and no graphics, and may
make device nodes unless some are hidden from it (NodeNeeds.mask_params)."""
FOLDERS_OF_32_BITS = ("lib32", "i386-linux-gnu")
"""No program of a node or of a pod of ours uses them."""


@dataclass
class Hooks:
    """What the hooks of a spec would do in a container, gathered as data."""

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
            case _ if name in NOT_FOR_NODES:
                pass
            case _:
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


def read_hooks(holders: Iterable[Mapping[str, Any]]) -> Hooks:
    work = Hooks()
    for holder in holders:
        for hook in cdi.part(holder, "hooks"):
            work.add(hook)
    return work


_HOOK_OPTIONS = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
for _option in ("--link", "--folder", "--path"):
    _HOOK_OPTIONS.add_argument(_option, action="append", default=[], nargs="?", const="")
_HOOK_OPTIONS.add_argument("--mode", default="755", nargs="?")


def of_32_bits(path: str) -> bool:
    return any(part in FOLDERS_OF_32_BITS for part in PurePosixPath(path).parts)
