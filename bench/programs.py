"""Programs that a benchmark runs."""

from __future__ import annotations

import subprocess

from tests.checkout import Checkout


class BenchError(Exception):
    """Something that is measured did not work; the text says what and why."""


def run(checkout: Checkout, *command: str, stdin: str = "", **environment: str) -> str:
    """What a program prints. Raises BenchError with its complaint if it fails."""
    done = subprocess.run(
        command, cwd=checkout.folder, env=checkout.environment() | environment, check=False,
        input=stdin, text=True, errors="replace", capture_output=True,
    )  # fmt: skip
    if done.returncode:
        raise BenchError(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout
