"""Pulumi, timed, with the events of its engine."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

from machine.errors import LabError
from tests.checkout import Checkout

Event = dict[str, Any]
Events = list[tuple[float, Event]]
"""Each with the second at which it came. (Their own timestamps are whole seconds.)"""


def run_pulumi(
    checkout: Checkout, action: str, stack: str, watch: Callable[[Event], None] = lambda _: None
) -> Events:
    """Run `pulumi up` or `pulumi destroy`; `watch` is handed every event, and must be quick.

    Raises LabError with Pulumi's own diagnostics.
    """
    options = ["--yes", "--skip-preview", "--json", "--non-interactive", "--stack", stack]
    events: Events = []
    other = []
    started = time.monotonic()
    with subprocess.Popen(
        ["pulumi", action, *options], cwd=checkout.folder, text=True, errors="replace",
        env=checkout.environment(), start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as engine:  # fmt: skip
        assert engine.stdout is not None  # noqa: S101
        try:
            while line := engine.stdout.readline():
                if not line.startswith("{"):
                    other.append(line)
                    continue
                event = json.loads(line)
                events.append((time.monotonic() - started, event))
                watch(event)
            code = engine.wait()
        except BaseException:
            engine.kill()  # waiting for it would hide the interruption; its children end with
            raise  # the workplace
    if code:
        found = [event["diagnosticEvent"] for _, event in events if "diagnosticEvent" in event]
        errors = [one["message"] for one in found if one["severity"] == "error"]
        raise LabError(f"pulumi {action} ended with {code}:\n{''.join([*errors, *other])}")
    return events
