"""Runs a program to its end and returns what it printed."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from machine.errors import LabError


@dataclass(frozen=True)
class Finished:
    """How a program ended. output, errors: what it printed."""

    code: int
    output: str
    errors: str

    @property
    def reason(self) -> str:
        """Why it failed: what it printed, on one line."""
        return " ".join((self.errors or self.output).split())


class ProgramError(LabError):
    """A program did not do what it was run for."""


class ProgramUnusable(ProgramError):
    """It cannot be started. reason: the system's."""

    def __init__(self, program: str, reason: str | None) -> None:
        super().__init__(f"{program} cannot be run: {reason}")
        self.reason = reason


class ProgramMissing(ProgramUnusable):
    """It is not installed."""


class ProgramTimedOut(ProgramError):
    """It did not end in time and was killed; whether it did its work is not known."""


class ProgramFailed(ProgramError):
    """It ended with another code than 0."""

    def __init__(self, command: Sequence[str], finished: Finished) -> None:
        reason = finished.reason or f"it ended with {finished.code} and printed nothing"
        super().__init__(f"{' '.join(command)} failed: {reason}")
        self.finished = finished


def run_program(
    command: Sequence[str],
    *,
    seconds: float | None = None,
    input: str = "",  # noqa: A002 (as subprocess calls it)
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
    undecodable: str = "replace",
) -> Finished:
    """Run the program to its end. Raises ProgramError, whose subclass says what went wrong.

    seconds: the program is killed after that time, None for never. check: whether a code other
    than 0 raises ProgramFailed. undecodable: how bytes that are no UTF-8 are decoded, see codecs.
    """
    try:
        done = subprocess.run(
            command, timeout=seconds, input=input, env=env, cwd=cwd, capture_output=True,
            encoding="utf-8", errors=undecodable, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        name = Path(command[0]).name
        raise ProgramTimedOut(f"{name} does not answer within {seconds:g} s") from error
    except OSError as error:
        kind = ProgramMissing if isinstance(error, FileNotFoundError) else ProgramUnusable
        raise kind(command[0], error.strerror) from error
    finished = Finished(done.returncode, done.stdout, done.stderr)
    if check and finished.code:
        raise ProgramFailed(command, finished)
    return finished
