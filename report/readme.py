"""Keeps the generated parts of README.md true: `make docs` writes them, a unit test compares.

A part stands between `<!-- NAME -->` and `<!-- end NAME -->`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from operations.stack import stacks

README = Path("README.md")
PROJECT = Path("Pulumi.yaml")


def config_table() -> str:
    """Every configuration key with its default and meaning, from Pulumi.yaml."""
    entries = yaml.safe_load(PROJECT.read_text())["config"]
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for key, entry in entries.items():
        default = json.dumps(entry["default"])
        lines.append(f"| `{key}` | `{default}` | {entry['description']} |")
    return "\n".join(lines)


def stack_table() -> str:
    """Every stack with what it shows, as `make list` has it."""
    lines = ["| stack | modules | shows | needs | takes |", "|---|---|---|---|---|"]
    lines += ["| " + " | ".join(row) + " |" for row in stacks.rows()]
    return "\n".join(lines)


PARTS: dict[str, Callable[[], str]] = {"config": config_table, "stacks": stack_table}


def renewed(text: str) -> str:
    """The text with every generated part written anew. Raises ValueError for a missing part."""
    for name, make in PARTS.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
        before, begun, rest = text.partition(begin)
        _, ended, after = rest.partition(end)
        if not (begun and ended):
            raise ValueError(f"{README} has no part {name}")
        text = f"{before}{begin}{make()}\n{end}{after}"
    return text


def main() -> int:
    README.write_text(renewed(README.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
