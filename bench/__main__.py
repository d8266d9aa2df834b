"""`make bench`: what `up` costs beside kubectl (the method: bench/__init__.py)."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import bench
from bench import machine, repeat, show, startup, summary
from bench.programs import BenchError
from bench.workplace import workplace
from machine.files import write_json
from results.store import RESULTS
from tests.checkout import ROOT
from toolchain.numbers import option

INTERRUPTED = 130


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=bench.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeats", type=option(1), default=3, help="how often (default: 3)")
    parser.add_argument("--json", action="store_true", help="print the JSON instead of tables")
    options = parser.parse_args()
    try:
        return run(options.repeats, options.json)
    except BenchError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("bench: interrupted; nothing is left of it\n")
        return INTERRUPTED


def run(number: int, as_json: bool) -> int:
    """Measure, keep the result in `.results/bench/<UTC time>/bench.json` and print it."""
    facts = machine.facts()
    repeats = []
    with workplace() as checkout:
        checkout.stack(repeat.STACK)
        for index in range(1, number + 1):
            say = partial(progress, f"repeat {index} of {number}")
            repeats.append(repeat.run(checkout, index, say))
        progress("start of the programs", "measuring")
        starts, imports = startup.seconds(checkout.folder), startup.imports(checkout.folder)
    result = {
        "method": bench.__doc__,
        "environment": facts,
        **summary.to_json(repeats),
        "start_seconds": starts,
        "import_seconds": imports,
        "closing": summary.closing(summary.rows(repeats)),
    }
    path = keep(result)
    if as_json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
        return 0
    show.report(repeats, facts, starts, imports)
    show.console().print(f"all values: {path.relative_to(ROOT)}")
    return 0


def progress(where: str, text: str) -> None:
    sys.stderr.write(f"bench: {where}: {text}\n")
    sys.stderr.flush()


def keep(result: dict[str, object]) -> Path:
    folder = ROOT / RESULTS / "bench" / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder.mkdir(parents=True)
    path = folder / "bench.json"
    write_json(path, result)
    return path


if __name__ == "__main__":
    sys.exit(main())
