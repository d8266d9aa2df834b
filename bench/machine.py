"""Where and with what a benchmark was run."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil

from tests.checkout import ROOT
from toolchain.tools import PLUGINS, PULUMI_VERSION

CPUINFO = Path("/proc/cpuinfo")


def facts() -> dict[str, Any]:
    """Memory in GB."""
    return {
        "commit": _commit(),
        "platform": platform.platform(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory": round(psutil.virtual_memory().total / 1e9, 1),
        "python": platform.python_version(),
        "pulumi": PULUMI_VERSION,
        "providers": {name: version for name, (version, _) in PLUGINS.items()},
    }


def _commit() -> str:
    """What is measured; "-dirty" when files differ from it, "" outside git."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, check=False,
        capture_output=True, text=True, errors="replace",
    )  # fmt: skip
    return done.stdout.strip()


def _processor() -> str:
    if CPUINFO.exists():
        for line in CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
