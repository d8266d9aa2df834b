"""`make break`: break something of a lab that is up, on purpose, and see what brings it back."""

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from faults import engine
from faults.catalogue import FAULTS
from faults.model import Fault
from faults.scene import Scene
from kube.client import Kube
from machine import cluster_state, identity
from machine.errors import LabError
from machine.files import read_json, write_json
from report import faults as report
from results.status import verdict
from results.store import RESULTS
from toolchain import proxies

CHECK = "::check-mps-sharing"
"""How the URN ends of the Command of module 4's check, whose parameters say where all is."""
ALL = "all"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--stack", required=True)
    parser.add_argument("--fault", default="", help="names, or all; none lists them")
    options = parser.parse_args()
    os.environ.update(proxies.no_proxy_variables())
    try:
        return run(options.stack, options.fault.split())
    except LabError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command removes what is left of it\n")
        return 130


def run(stack: str, names: list[str]) -> int:
    """Try the faults, one after the other, then every check of the stack; 1 if something did not
    go as expected."""
    if not names:
        report.show_list((each.name, each.breaks, each.needs) for each in FAULTS.values())
        return 0
    chosen = list(FAULTS) if names == [ALL] else names
    if unknown := [name for name in chosen if name not in FAULTS]:
        raise LabError(f"there is no fault '{unknown[0]}'; faults: {', '.join(FAULTS)}, {ALL}")
    require_up(stack)
    parameters = read_parameters(stack)
    folder = RESULTS / stack / "faults"
    folder.mkdir(parents=True, exist_ok=True)
    statuses = [attempt(FAULTS[name], stack, parameters, folder) for name in chosen]
    passed = verify_again(stack)
    sys.stdout.write(f"results in {folder}/\n")
    return 0 if passed and verdict(statuses) != "failed" else 1


def attempt(fault: Fault, stack: str, parameters: dict[str, Any], folder: Path) -> str:
    """Try one fault, keep what was seen in the folder, and print it. Returns its status."""
    sys.stderr.write(f"breaking: {fault.name}\n")
    began = datetime.now(UTC)
    scene = Scene(Kube(parameters["kubeconfig"]), parameters, fault, stack)
    facts = {
        "stack": stack,
        "started": began.isoformat(timespec="seconds"),
        "devices": scene.devices,
        "products": sorted({device.product for device in scene.published()}),
    }
    result = engine.run(fault, scene) | facts
    write_json(folder / f"{began:%Y%m%dT%H%M%SZ}-{fault.name}.json", result)
    report.show(result)
    sys.stdout.flush()
    return str(result["status"])


def require_up(stack: str) -> None:
    """Raise LabError unless the lab is up, and every check of its last update passed."""
    latest = read_json(RESULTS / stack / "latest" / "results.json")
    if latest.get("status") != "passed" or not cluster_state.runs(stack):
        raise LabError(
            f"stack {stack} is not up with every check passed", f"run: make up STACK={stack}"
        )


def read_parameters(stack: str) -> dict[str, Any]:
    """Those of module 4's check, as the state of the stack has them."""
    for resource in identity.resources(stack):
        if resource["urn"].endswith(CHECK) and "stdin" in resource.get("inputs", {}):
            found: dict[str, Any] = json.loads(resource["inputs"]["stdin"])["parameters"]
            return found
    raise LabError(
        f"stack {stack} has no check mps-sharing, whose pods and claims faults are tried with",
        "bring up a stack with module 4, with mps=driver or mps=both",
    )


def verify_again(stack: str) -> bool:
    """Run every check of the stack again, and say what came of it."""
    command = [sys.executable, "-m", "operations", "up", "--stack", stack, "--verify"]
    started = time.monotonic()
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode:
        sys.stdout.write(done.stdout)
        return False
    counts = read_json(Path(RESULTS, stack, "latest", "results.json"))["counts"]
    took = time.monotonic() - started
    sys.stdout.write(
        f"\nmake verify: {counts['passed']} checks passed, {counts['warning']} with a warning, "
        f"{counts['skipped']} skipped, none failed ({took:.0f} s)\n"
    )
    return True


if __name__ == "__main__":
    sys.exit(main())
