"""`make bench`: what `up` costs beside kubectl (the method: bench/__init__.py)."""

import argparse
import json
import os
import platform
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil

import bench
from bench import kubectl, repeat, show, startup, summary
from bench.workplace import workplace
from machine.errors import LabError
from machine.files import write_json
from machine.run import run_program
from results.store import RESULTS
from tests.checkout import ROOT
from toolchain.numbers import option
from toolchain.tools import PLUGINS, PULUMI_VERSION

CPUINFO = Path("/proc/cpuinfo")
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
    except LabError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("bench: interrupted; nothing is left of it\n")
        return INTERRUPTED


def run(number: int, as_json: bool) -> int:
    """Measure, keep the result in `.results/bench/<UTC time>/bench.json` and print it."""
    environment = describe_environment()
    repeats = []
    with workplace() as checkout:
        checkout.stack(kubectl.STACK)
        for index in range(1, number + 1):
            say = partial(progress, f"repeat {index} of {number}")
            repeats.append(repeat.run(checkout, index, say))
        progress("start of the programs", "measuring")
        starts = startup.time_programs(checkout.folder)
        imports = startup.time_imports(checkout.folder)
    result = {
        "method": bench.__doc__,
        "environment": environment,
        **summary.to_json(repeats),
        "start_seconds": starts,
        "import_seconds": imports,
        "closing": summary.closing_lines(summary.compare(repeats)),
    }
    folder = ROOT / RESULTS / "bench" / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder.mkdir(parents=True)
    path = folder / "bench.json"
    write_json(path, result)
    if as_json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    else:
        show.report(repeats, environment, starts, imports)
        show.console().print(f"all values: {path.relative_to(ROOT)}")
    return 0


def progress(where: str, text: str) -> None:
    sys.stderr.write(f"bench: {where}: {text}\n")
    sys.stderr.flush()


def describe_environment() -> dict[str, Any]:
    """Where and with what it is run. commit: "-dirty" when files differ from it, "" outside git;
    memory: in GB."""
    described = run_program(["git", "describe", "--always", "--dirty"], cwd=ROOT, check=False)
    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "commit": described.output.strip(),
        "platform": platform.platform(),
        "processor": models[0] if models else platform.processor(),
        "processors": os.cpu_count(),
        "memory": round(psutil.virtual_memory().total / 1e9, 1),
        "python": platform.python_version(),
        "pulumi": PULUMI_VERSION,
        "providers": {name: version for name, (version, _) in PLUGINS.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
