"""The script that asks the MPS daemon for its clients, with a daemon and a driver root of ours."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from checks.modules.mps_sharing import LIST_CLIENTS

CONTROL = """#!/bin/sh
read -r command
case "$command" in
  get_server_list) echo 11; echo 12 ;;
  "get_client_list 11") echo $CLIENTS ;;
  "get_client_list 12") ;;
  *) echo "unexpected: $command" >&2; exit 1 ;;
esac
echo "$CUDA_MPS_PIPE_DIRECTORY" >> "$ASKED"
"""
CHROOT = """#!/bin/sh
root="$1"; shift
PATH="$root/usr/bin:$PATH" exec "$@"
"""


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def run(root: Path, clients: list[int]) -> tuple[list[str], str]:
    """The script's lines, and the pipe directory that the control program was told."""
    asked = root / "asked"
    done = subprocess.run(
        ["sh", "-c", LIST_CLIENTS.replace("/driver-root", str(root))],
        env={
            "PATH": f"{root / 'tools'}{os.pathsep}{os.environ['PATH']}",
            "CLIENTS": " ".join(map(str, clients)),
            "ASKED": str(asked),
        },
        text=True, capture_output=True, check=True, timeout=30,
    )  # fmt: skip
    return done.stdout.splitlines(), asked.read_text().splitlines()[0]


@pytest.mark.parametrize("shell", [True, False])
def test_each_client_is_a_line_with_its_groups(tmp_path: Path, shell: bool) -> None:
    program(tmp_path / "usr/bin/nvidia-cuda-mps-control", CONTROL)
    if shell:
        program(tmp_path / "bin/sh", "")
        program(tmp_path / "tools/chroot", CHROOT)
    lines, pipe = run(tmp_path, [os.getpid(), os.getppid()])
    groups = Path("/proc/self/cgroup").read_text().split()
    assert [line.split()[0] for line in lines] == [str(os.getpid()), str(os.getppid())]
    assert lines[0].split()[1:] == groups
    assert pipe == ("" if shell else f"{tmp_path}/tmp/nvidia-mps")


def test_a_client_that_has_gone_meanwhile_is_no_error(tmp_path: Path) -> None:
    program(tmp_path / "usr/bin/nvidia-cuda-mps-control", CONTROL)
    lines, _ = run(tmp_path, [2**22 + 1, os.getpid()])
    assert lines[0] == str(2**22 + 1)
    assert lines[1].startswith(str(os.getpid()))


def test_without_clients_there_are_no_lines(tmp_path: Path) -> None:
    program(tmp_path / "usr/bin/nvidia-cuda-mps-control", CONTROL)
    assert run(tmp_path, [])[0] == []
