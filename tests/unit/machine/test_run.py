"""Running a program: what it printed comes back, and each way to fail has its own error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from machine.errors import LabError
from machine.run import (
    Finished,
    ProgramFailed,
    ProgramMissing,
    ProgramTimedOut,
    ProgramUnusable,
    run_program,
)


def test_what_it_printed_comes_back() -> None:
    assert run_program(["sh", "-c", "echo out; echo err >&2"]) == Finished(0, "out\n", "err\n")


def test_text_goes_in_and_without_it_there_is_nothing_to_read() -> None:
    assert run_program(["cat"], input="µs\n", seconds=10).output == "µs\n"
    assert run_program(["cat"], seconds=10).output == ""


def test_it_runs_in_the_given_folder_with_the_given_environment(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", 'pwd; echo "$LAB$HOME"']
    done = run_program(command, cwd=tmp_path, env={"LAB": "dev"})
    assert done.output == f"{tmp_path}\ndev\n"


def test_bytes_that_are_no_text_break_nothing() -> None:
    command = ["printf", r"a\377"]
    assert run_program(command).output == "a\ufffd"
    assert os.fsencode(run_program(command, undecodable="surrogateescape").output) == b"a\xff"


def test_a_program_that_is_not_installed() -> None:
    with pytest.raises(ProgramMissing, match=r"^no-such-program cannot be run: No such file"):
        run_program(["no-such-program"])


def test_a_program_that_may_not_be_run_is_there(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o644)
    with pytest.raises(ProgramUnusable, match="program cannot be run: Permission denied") as caught:
        run_program([str(program)])
    assert not isinstance(caught.value, ProgramMissing)
    assert caught.value.reason == "Permission denied"


def test_a_program_that_hangs_is_killed(tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    command = ["/bin/sh", "-c", f"echo $$ > {noted}; exec sleep 60"]
    with pytest.raises(ProgramTimedOut, match=r"^sh does not answer within 0\.5 s$"):
        run_program(command, seconds=0.5)
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted.read_text()), 0)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo why >&2; echo other; exit 3", "why"),
        ("echo why; exit 3", "why"),
        ("exit 3", "it ended with 3 and printed nothing"),
    ],
)
def test_a_program_that_fails_says_why(script: str, reason: str) -> None:
    with pytest.raises(ProgramFailed) as caught:
        run_program(["sh", "-c", script])
    assert str(caught.value) == f"sh -c {script} failed: {reason}"
    assert caught.value.finished.code == 3
    assert isinstance(caught.value, LabError)


def test_whoever_expects_a_failure_gets_its_code() -> None:
    assert run_program(["sh", "-c", "exit 3"], check=False).code == 3
