"""`make test`: every part that can run on this machine, and what each cost."""

from __future__ import annotations

import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

PARTS = {
    "style": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["mypy"],
    "unit": ["pytest", "-q", "tests/unit"],
    "plan": ["pytest", "-q", "tests/plan"],
    # Two labs at a time: each waits a lot, and takes half a gigabyte.
    "embedded": ["pytest", "-q", "-n", "2", "--durations=5", "tests/embedded"],
    "faults": ["pytest", "-q", "-n", "2", "--durations=5", "tests/faults"],
}


def main() -> int:
    """Run all parts, also after one failed; exit code 1 if any did."""
    table = Table(box=None, header_style="bold")
    for column in ("part", "result", "seconds"):
        table.add_column(column, justify="right" if column == "seconds" else "left")
    failed = False
    for part, command in PARTS.items():
        print(f"== {part}: {' '.join(command)}", flush=True)  # noqa: T201
        started = time.monotonic()
        code = subprocess.run([sys.executable, "-m", *command], check=False).returncode
        failed |= code != 0
        table.add_row(part, "failed" if code else "passed", f"{time.monotonic() - started:.0f}")
    Console(width=80, highlight=False).print(table)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
