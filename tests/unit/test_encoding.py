"""Text is UTF-8 whatever this machine's locale says, and what is not UTF-8 breaks nothing."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolchain import layout, stacks

ROOT = Path(__file__).resolve().parents[2]
OURS = (
    *("bench", "checks", "components", "faults", "kube", "machine"),
    *("operations", "report", "results", "toolchain", "workloads"),
)
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
"""As an old locale would have it: Python reads files as ASCII, unless it is told better."""
READ = "import sys; print(open(sys.argv[1]).read() == '\\xb5s')"


@pytest.fixture
def micro(tmp_path: Path) -> Path:
    path = tmp_path / "text"
    path.write_bytes("µs".encode())
    return path


def test_a_machine_without_utf_8_is_what_these_tests_have(micro: Path) -> None:
    read = [sys.executable, "-c", READ, str(micro)]
    done = subprocess.run(read, env=os.environ | ASCII, capture_output=True, check=False)
    assert b"UnicodeDecodeError" in done.stderr


def test_make_reads_utf_8(micro: Path) -> None:
    probe = f"probe:\n\t@{sys.executable} -c \"{READ}\" '{micro}'"
    done = subprocess.run(
        ["make", "--silent", f"--eval={probe}", "probe"], cwd=ROOT, env=os.environ | ASCII,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_pulumi_and_what_it_runs_read_utf_8(
    micro: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `make`, and by hand with `.tools/env`."""
    monkeypatch.setattr(layout, "TOOLS", tmp_path)
    stacks.write_environment(own_plugins=True)
    by_hand = f'. {tmp_path}/env; exec "$@"'
    for command, variables in (([], stacks.environment()), (["sh", "-c", by_hand, "sh"], {})):
        done = subprocess.run(
            [*command, sys.executable, "-c", READ, str(micro)], env=os.environ | ASCII | variables,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.stdout, done.stderr) == ("True\n", "")


def strict_readers() -> Iterator[str]:
    """Calls that take a program's output as text and die of a byte that is not UTF-8."""
    for path in (path for folder in OURS for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call):
                keywords = {keyword.arg for keyword in node.keywords}
                if keywords & {"text", "universal_newlines"} and "errors" not in keywords:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}"


def test_a_program_may_say_what_it_likes() -> None:
    """Programs speak the user's language, in the encoding of his locale."""
    assert list(strict_readers()) == []
