"""Runs the kind program, and shows its output."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from machine.errors import LabError

BIN = Path(".tools/bin")
LOAD_SECONDS = 300
REASONS = 6
"""Lines of kind's output that are repeated when it fails."""
PROVIDER = "KIND_EXPERIMENTAL_PROVIDER"
"""In the environment, has kind talk to something else than Docker."""
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def run_kind(arguments: Sequence[str], seconds: float = LOAD_SECONDS) -> None:
    """Run kind, whose progress goes to stderr line by line."""
    output: list[str] = []
    try:
        with subprocess.Popen(
            [str(BIN / "kind"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={key: value for key, value in os.environ.items() if key != PROVIDER},
        ) as running:
            late = _follow(running, seconds, output)
    except FileNotFoundError as error:
        raise LabError(f"{BIN / 'kind'} is missing", "run: make setup-kind") from error
    if running.returncode:
        reason = "".join(f"\n  {line}" for line in output[-REASONS:] if line)
        how = f"was ended after {seconds:g} s" if late else "failed"
        raise LabError(f"kind {' '.join(arguments[:2])} {how}:{reason}")


def _follow(running: subprocess.Popen[str], seconds: float, output: list[str]) -> bool:
    """Show and collect its lines until it ends; returns whether it was ended for its time. One that
    hangs is silent, so a clock of its own watches it."""
    clock = threading.Timer(seconds, running.kill)
    clock.start()
    assert running.stdout is not None  # noqa: S101
    try:
        for line in running.stdout:
            output.append(COLOURS.sub("", line).rstrip())
            say(output[-1])
        return not clock.is_alive()
    finally:
        clock.cancel()


def say(line: str) -> None:
    if line.strip():
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
