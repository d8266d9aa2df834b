"""What the programs that an update starts cost before they do anything."""

import re
import time
from collections import Counter
from pathlib import Path
from statistics import median

from machine.programs import PYTHON
from machine.run import run_program

REPEATS = 3
CODE = {
    "Python": "pass",
    "the program's imports": "import components.lab",
    "a check's imports": "import checks.__main__",
    "and its API client": "import checks.__main__; from kubernetes import client; client.CoreV1Api",
    "the cluster's imports": "import operations.embedded.cluster",
}
PROGRAMS = {name: (PYTHON, "-c", code) for name, code in CODE.items()} | {
    "kubectl": (".tools/bin/kubectl", "version", "--client"),
    "pulumi": (".tools/bin/pulumi", "version"),
}
SHARE = 0.05
"""A package that takes less than this part of the whole is not listed."""
_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+([^\s.]+)")


def time_programs(folder: Path) -> dict[str, float]:
    """Program → median seconds from its start to its end, files in the machine's cache."""
    found = {}
    for name, command in PROGRAMS.items():
        taken = []
        for _ in range(REPEATS + 1):
            started = time.monotonic()
            run_program(command, cwd=folder)
            taken.append(time.monotonic() - started)
        found[name] = median(taken[1:])
    return found


def time_imports(folder: Path) -> dict[str, float]:
    """Package → seconds of importing its modules, for the Pulumi program."""
    command = (PYTHON, "-X", "importtime", "-c", "import components.lab")
    return parse_import_times(run_program(command, cwd=folder).errors)


def parse_import_times(text: str) -> dict[str, float]:
    """The packages that take most, from what `-X importtime` prints; the longest first."""
    found: Counter[str] = Counter()
    for own, package in _LINE.findall(text):
        found[package] += int(own)
    least = SHARE * found.total()
    return {package: own / 1e6 for package, own in found.most_common() if own >= least}
