"""The committed stacks, for people who choose one."""

from __future__ import annotations

import json
from typing import NamedTuple

from components.modules.registry import closure
from machine.configuration import read_configuration
from toolchain.layout import committed_stacks


class Row(NamedTuple):
    """modules: with those that are needed; takes: on the embedded cluster."""

    stack: str
    modules: str
    shows: str
    needs: str
    takes: str


def rows() -> list[Row]:
    found = []
    for stack in committed_stacks():
        modules = closure(json.loads(read_configuration(stack)["modules"]))
        ids, last = ", ".join(module.id for module in modules), modules[-1]
        shows = last.shows if stack == last.stack else f"modules {ids} (the default)"
        found.append(Row(stack, ids, shows, last.wants, f"{last.seconds} s"))
    return found
