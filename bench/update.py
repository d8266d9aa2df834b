"""Pulumi, timed, with the events of its engine."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.programs import BenchError
from tests.checkout import Checkout

Event = dict[str, Any]


@dataclass(frozen=True)
class Update:
    """seconds: from the start of the process to its end; events: each with the second at which
    it came. (Their own timestamps are whole seconds.)"""

    seconds: float
    events: list[tuple[float, Event]]


def pulumi(
    checkout: Checkout, stack: str, action: str,
    watch: Callable[[Event], None] = lambda _: None, **environment: str,
) -> Update:  # fmt: skip
    """Run `pulumi up` or `pulumi destroy`; `watch` is handed every event, and must be quick.

    Raises BenchError with Pulumi's own diagnostics.
    """
    command = ["pulumi", action, "--yes", "--skip-preview", "--json", "--non-interactive"]
    events: list[tuple[float, Event]] = []
    started = time.monotonic()
    with subprocess.Popen(
        [*command, "--stack", stack], cwd=checkout.folder, text=True, errors="replace",
        env=checkout.environment() | environment, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as engine:  # fmt: skip
        assert engine.stdout is not None  # noqa: S101
        try:
            other = []
            while line := engine.stdout.readline():
                second = time.monotonic() - started
                if not line.startswith("{"):
                    other.append(line)
                    continue
                event = json.loads(line)
                events.append((second, event))
                watch(event)
            code = engine.wait()
            seconds = time.monotonic() - started
        except BaseException:
            engine.kill()  # waiting for it would hide the interruption; its children end with
            raise  # the workplace
    if code:
        raise BenchError(
            f"pulumi {action} ended with {code}:\n{_read_errors(events)}{''.join(other)}"
        )
    return Update(seconds, events)


def _read_errors(events: list[tuple[float, Event]]) -> str:
    diagnostics = (event["diagnosticEvent"] for _, event in events if "diagnosticEvent" in event)
    return "".join(one["message"] for one in diagnostics if one["severity"] == "error")
