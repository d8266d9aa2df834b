"""A lab that is broken on purpose: what every fault test begins and ends with."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.checkout import Checkout, Done

STACK = "module3"


def up(checkout: Checkout, stack: str = STACK) -> Done:
    return checkout.operate("up", "--stack", stack)


def destroy(checkout: Checkout, stack: str = STACK) -> Done:
    return checkout.operate("destroy", "--stack", stack)


def require_passed(checkout: Checkout, stack: str = STACK) -> None:
    """One `make up` and every check passed."""
    done = up(checkout, stack)
    assert done.code == 0, done.text
    assert "Traceback" not in done.text
    outputs = checkout.outputs(stack)
    statuses = {module: result["status"] for module, result in outputs["verification"].items()}
    assert set(statuses.values()) == {"passed"}, statuses


def require_clean_destroy(checkout: Checkout, stack: str = STACK) -> None:
    """One `make destroy` leaves no process, file, lock or resource."""
    done = destroy(checkout, stack)
    assert done.code == 0, done.text
    require_nothing_left(checkout, stack)


def require_nothing_left(checkout: Checkout, stack: str = STACK) -> None:
    assert [line for line in checkout.processes() if f"/{stack}/" in line] == []
    assert not (checkout.folder / ".run" / stack).exists()
    assert checkout.credentials(stack) == []
    locks = checkout.folder / ".state/.pulumi/locks/organization/dra-workshop" / stack
    assert list(locks.glob("*.json")) == []
    state = checkout.pulumi("stack", "export", "--stack", stack)
    assert state.code == 0, state.text
    deployment = json.loads(state.text)["deployment"]
    assert deployment.get("resources", []) == []
    assert deployment.get("pending_operations", []) == []


def results(checkout: Checkout, stack: str = STACK) -> dict[str, str]:
    """Every file of results that was kept, with its content."""
    folder = checkout.folder / ".results" / stack
    return {str(path.relative_to(folder)): path.read_text() for path in folder.glob("2*/*.json")}


@contextmanager
def running(checkout: Checkout, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """An operation that has been started, its output to be read line by line."""
    with subprocess.Popen(
        checkout.command(".venv/bin/python", "-m", "operations", *arguments),
        cwd=checkout.folder, env=checkout.environment(), text=True, bufsize=1,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        yield process


def lines_about_resources(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith((" + ", " - ", " ~ ")):
            yield line


def engine_of(process: subprocess.Popen[str]) -> psutil.Process:
    (engine,) = (c for c in psutil.Process(process.pid).children() if c.name() == "pulumi")
    return engine


def go_on_until(process: subprocess.Popen[str], point: int | str) -> None:
    """Read on until so many lines of progress have come, or one with these words."""
    for seen, line in enumerate(lines_about_resources(process), 1):
        if seen == point or (isinstance(point, str) and point in line):
            return
    raise AssertionError(f"the operation ended before {point}")


def kill_engine(checkout: Checkout, verb: str, point: int | str, stack: str = STACK) -> None:
    """Start an operation and SIGKILL its engine, only that, at the point (see `go_on_until`)."""
    with running(checkout, verb, "--stack", stack) as process:
        go_on_until(process, point)
        engine_of(process).send_signal(signal.SIGKILL)
    assert process.returncode not in (0, None)


def kill_all(checkout: Checkout, name: str = "") -> None:
    """As a loss of power does: every process of the checkout, at once, without a word; with a
    name only those of that name."""
    here = str(checkout.folder.resolve())
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.cwd().startswith(here) and name in (process.cmdline() or [""])[0]:
                process.kill()
                process.wait(timeout=10)


def remove(path: Path) -> None:
    assert subprocess.run(["rm", "-rf", str(path)], check=False).returncode == 0
