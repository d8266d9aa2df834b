"""Runs pulumi in the project's environment and shows its output."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from machine.errors import LabError
from machine.run import run_program
from operations.stack import refusals
from toolchain.layout import BIN
from toolchain.stacks import environment

STATE = Path(".state")
"""Pulumi's local backend."""
STACK = "pulumi:pulumi:Stack"
RELEASE = "kubernetes:helm.sh/v3:Release"
NAMESPACE = "kubernetes:core/v1:Namespace"
"""Types of resources."""
REPORTED = re.compile(
    r'(.*command:local:Command \S+ \w+ \([\d.hms]+\)(?: \[diff: [^]]*\])?);? \{".*\}\s*', re.DOTALL
)
"""The progress of a Command that has printed JSON, which is for the graph: group 1 is for people.

JSON anywhere else is the body of somebody's answer, and says what went wrong.
"""
UNHANDLED = "an unhandled error occurred: program exited with non-zero exit code"
"""What the engine adds to the error with which the program ended."""
SUMMARY = "update failed"
"""An error that says no more than that there were others."""
REFUSED = re.compile(
    r'resource "urn:[^"]+" was not successfully \w+ by the Kubernetes API server: '
)
"""What the provider says before the API server's words, after the resource's name."""
EVENTS = {"PULUMI_DEBUG_COMMANDS": "true"}
"""Environment without which the engine does not know of --event-log. Pulumi's own automation API
uses both."""
MOST = 1000


def errors_in(events: Path) -> str:
    """What the engine called errors, out of its log of events; each once."""
    found, inputs = [], {}
    for line in events.read_text(encoding="utf-8").splitlines():
        try:
            event = json.loads(line)
        except ValueError:  # the engine was killed as it wrote this
            continue
        if begun := event.get("resourcePreEvent", {}).get("metadata"):
            inputs[begun["urn"]] = (begun.get("new") or {}).get("inputs") or {}
        diagnostic = event.get("diagnosticEvent") or {}
        if diagnostic.get("severity") == "error":
            found.append(_describe(diagnostic, inputs.get(diagnostic.get("urn"), {})))
    found = [
        line for line in found if UNHANDLED not in line and not line.endswith(SUMMARY)
    ] or found
    return "\n".join(dict.fromkeys(found))[:MOST] or "its output above says why"


def _describe(error: dict[str, Any], inputs: dict[str, Any]) -> str:
    """inputs: of the resource that the error is about."""
    message = REFUSED.sub("", error["message"].strip())
    name = error.get("urn", "").rpartition("::")[2]
    return refusals.explain(message, inputs) or ": ".join(filter(None, (name, message)))


def pulumi(*arguments: str, extra: dict[str, str] | None = None, quiet: bool = False) -> int:
    """Run pulumi in the project's environment; returns its exit code. On a terminal it draws its
    own progress; elsewhere its lines are shown, without the JSON that is for the graph."""
    given = variables() | (extra or {})
    if quiet:
        done = run_program(["pulumi", *arguments], env=given, check=False)
        if done.code:
            raise LabError(done.errors.strip())
        return 0
    terminal = sys.stdout.isatty()
    plain = () if terminal else ("--non-interactive", "--suppress-progress", "--color", "never")
    with subprocess.Popen(
        ["pulumi", *arguments, *plain],
        env=given,
        text=True,
        errors="replace",
        stdout=None if terminal else subprocess.PIPE,
    ) as engine:
        # The terminal sends ctrl-c to pulumi too, which then ends in good order. Killing it, as
        # subprocess.run would, leaves a locked stack and half-made resources.
        while True:
            try:
                _hand_on(engine)
                return engine.wait()
            except KeyboardInterrupt:
                continue


def variables() -> dict[str, str]:
    """This process's environment with that of the project: its tools first, its own state."""
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    return os.environ | environment() | {"PATH": path}


def _hand_on(engine: subprocess.Popen[str]) -> None:
    if engine.stdout is None:
        return
    printed, explained = "", False
    while line := engine.stdout.readline():
        progress = REPORTED.fullmatch(line)
        shown = REFUSED.sub("", progress[1] if progress else line).rstrip() + "\n"
        if shown != printed and not (explained and UNHANDLED in line):
            sys.stdout.write(shown)
            sys.stdout.flush()
        printed = shown
        explained = explained or "error: " in line
