"""`make test`: every part that can run on this machine, and what each cost.

It leaves out repeats (tests/marks.py), and says so; with `--all`, as `make test-all`, it runs them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

from toolchain import build, host
from toolchain.errors import SetupError
from toolchain.kind_node import base, image
from toolchain.layout import TOOLS
from toolchain.tools import HOST_TOOLS

PARTS = {
    "style": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["mypy"],
    "unit": ["pytest", "-q", "tests/unit"],
    # The real kind reads what we write for it.
    "kind tools": ["toolchain", "install", "--kind"],
    "plan": ["pytest", "-q", "-n", "2", "-rs", "tests/plan"],
    # Two labs at a time: each waits a lot, and takes half a gigabyte.
    "embedded": ["pytest", "-q", "-n", "2", "--durations=5", "tests/embedded"],
    "existing": ["pytest", "-q", "-n", "2", "--dist", "loadfile", "tests/existing"],
    "faults": ["pytest", "-q", "-n", "2", "--durations=5", "tests/faults"],
    "host tools": ["toolchain", "install", "--host-node"],
    # A machine has one host node.
    "node": ["pytest", "-q", "--durations=5", "tests/node"],
    "kind image": ["toolchain", "kind-node-image"],
    "kind": ["pytest", "-q", "--durations=5", "tests/kind"],
}
OF_A_HOST = ("host tools", "node")
OF_KIND = ("kind image", "kind")


def unable() -> str:
    """Why this machine cannot be a host node, "" if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a host node needs root on Linux"
    if host.missing(TOOLS):
        try:
            build.require_c([tool for tool in HOST_TOOLS if build.built(tool) is None])
        except SetupError as error:
            return str(error)
    return ""


def unable_to_run_kind() -> str:
    """Why this machine cannot run kind without a registry, "" if it can."""
    if sys.platform != "linux":
        return "kind without a registry needs Linux"
    if image.cached() is None:
        try:
            base.require()
        except SetupError as error:
            return str(error)
    return ""


def why_not(part: str) -> str:
    """Why this machine cannot run a part, "" if it can."""
    if part in OF_A_HOST:
        return unable()
    if part == "kind tools" and sys.platform != "linux":
        return "set-up for kind needs Linux"
    return unable_to_run_kind() if part in OF_KIND else ""


def main() -> int:
    """Run all parts that this machine can, also after one failed; exit code 1 if any did."""
    options = argparse.ArgumentParser(prog="python -m tests", description=__doc__)
    options.add_argument("--all", action="store_true", help="with all repeats")
    every = options.parse_args().all
    table = Table(box=None, header_style="bold")
    for column in ("part", "result", "seconds"):
        table.add_column(column, justify="right" if column == "seconds" else "left")
    failed = False
    for part, command in PARTS.items():
        if why := why_not(part):
            print(f"== {part}: skipped: {why}", flush=True)  # noqa: T201
            table.add_row(part, "skipped", "")
            continue
        if command[0] == "pytest" and not every:
            command = [*command, "-m", "not repeat"]
        print(f"== {part}: {' '.join(command)}", flush=True)  # noqa: T201
        started = time.monotonic()
        code = subprocess.run([sys.executable, "-m", *command], check=False).returncode
        failed |= code != 0
        table.add_row(part, "failed" if code else "passed", f"{time.monotonic() - started:.0f}")
    console = Console(width=80, highlight=False)
    console.print(table)
    if not every:
        console.print("left out: the tests that are deselected above; make test-all runs them too")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
