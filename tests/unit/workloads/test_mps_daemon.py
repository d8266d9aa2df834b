"""The lab's MPS daemon, over stand-ins for NVIDIA's programs that keep what they are told in files:
its limits, whose directory it is, and what remains of it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from checks.release import GAVE_BACK
from workloads import mps_daemon

GPU = "GPU-d39d2a7e-364c-5c3e-8fc3-d94479a5c039"
CONTROL = """\
import os, sys, time
pipes = os.environ["CUDA_MPS_PIPE_DIRECTORY"]
living = os.path.join(pipes, "control")
if "-f" in sys.argv:
    if os.path.exists(os.path.join(pipes, "..", "broken")):
        sys.exit(7)
    open(living, "w").close()
    while os.path.exists(living):
        time.sleep(0.05)
    sys.exit(0)
line = sys.stdin.readline().split()
if not os.path.exists(living):
    sys.exit("Cannot find MPS control daemon process")
with open(os.path.join(pipes, "..", "commands"), "a") as commands:
    commands.write(" ".join(line) + "\\n")
if line[0] == "quit":
    os.unlink(living)
elif line[0] == "get_default_active_thread_percentage":
    print("50.0")
elif line[0] == "get_default_device_pinned_mem_limit":
    print("1G")
"""
SMI = """\
import os, sys
state = os.path.join(os.environ["CUDA_MPS_PIPE_DIRECTORY"], "..", "mode")
if "-c" in sys.argv:
    open(state, "w").write(sys.argv[-1])
else:
    mode = open(state).read() if os.path.exists(state) else "DEFAULT"
    print(mode.title())
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the pipe directory, the annotations and the programs of the driver."""
    for name, text in (("nvidia-cuda-mps-control", CONTROL), ("nvidia-smi", SMI)):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!{sys.executable}\n{text}")
        program.chmod(0o755)
    (tmp_path / "pipe").mkdir()
    (tmp_path / "annotations").write_text("")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path / "pipe"))
    monkeypatch.setenv("DRA_WORKSHOP_ANNOTATIONS", str(tmp_path / "annotations"))
    monkeypatch.setenv("MPS_GPU", GPU)
    return tmp_path


@pytest.fixture
def start(place: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(Path(mps_daemon.__file__)), *arguments]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield run
    for process in started:
        with process:
            process.kill()
    (place / "pipe" / "control").unlink(missing_ok=True)  # by which the control daemon ends too


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def probe(role: str) -> subprocess.CompletedProcess[str]:
    """As the kubelet does."""
    command = [sys.executable, str(Path(mps_daemon.__file__)), "probe", role]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def release(place: Path) -> None:
    (place / "annotations").write_text('dra-workshop/release="true"\n')


def commands(place: Path) -> list[str]:
    told = (place / "commands").read_text().splitlines()
    return [line for line in told if not line.startswith("get_")]


def test_the_daemon_has_the_limits_that_it_was_given(place: Path, start: Start) -> None:
    (place / "pipe" / "control_lock").touch()  # of a daemon that was killed
    daemon = start("serve", "--threads=50", "--memory=1024M")
    assert daemon.stdout is not None
    said = json.loads(daemon.stdout.readline())
    assert said["limits"] == {"threads": "50.0", "memory": "1G"}
    assert said["user"] == os.getuid()
    assert [path.name for path in (place / "pipe").iterdir()] == ["control"]
    assert commands(place) == [
        "set_default_active_thread_percentage 50",
        f"set_default_device_pinned_mem_limit {GPU} 1024M",
    ]


def test_a_released_pod_stays_without_a_daemon(place: Path, start: Start) -> None:
    daemon = start("serve")
    until((place / "pipe" / "control").exists)
    until(lambda: probe("serve").returncode == 0)
    release(place)
    until(lambda: not list((place / "pipe").iterdir()))
    assert daemon.poll() is None
    assert probe("serve").returncode == 0, "it is as it is meant to be"
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(10) == 0


def test_a_released_pod_that_is_started_again_touches_nothing(place: Path, start: Start) -> None:
    """Another daemon may be at work by then."""
    release(place)
    (place / "pipe" / "control").touch()
    for role in ("serve", "reserve"):
        process = start(role)
        assert process.stderr is not None
        assert GAVE_BACK["daemon" if role == "serve" else role] in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert (place / "pipe" / "control").exists()
    assert not (place / "mode").exists()


def test_a_pod_that_ends_leaves_no_daemon(place: Path, start: Start) -> None:
    daemon = start("serve")
    assert daemon.stdout is not None
    assert daemon.stdout.readline()
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(10) == 0
    assert list((place / "pipe").iterdir()) == []
    assert commands(place)[-1] == "quit -t 1"


def test_a_daemon_that_ends_by_itself_ends_its_container(place: Path, start: Start) -> None:
    """The kubelet then starts it again."""
    daemon = start("serve")
    assert daemon.stdout is not None
    assert daemon.stdout.readline()
    (place / "pipe" / "control").unlink()
    assert daemon.wait(10) == 1
    assert daemon.stderr is not None
    assert "nvidia-cuda-mps-control ended with exit code 0" in daemon.stderr.read()


def test_a_daemon_that_does_not_start_is_an_error(place: Path, start: Start) -> None:
    (place / "broken").touch()
    daemon = start("serve")
    assert daemon.wait(10) == 1
    assert daemon.stderr is not None
    assert "nvidia-cuda-mps-control did not start: exit code 7" in daemon.stderr.read()
    assert probe("serve").returncode == 1


GIVES_AWAY = pytest.mark.skipif(os.getuid() != 0, reason="gives a folder to another user")


@GIVES_AWAY
def test_the_gpu_is_reserved_until_the_pod_is_released(place: Path, start: Start) -> None:
    assert probe("reserve").returncode == 1
    reserve = start("reserve", "--user=65534")
    until(lambda: probe("reserve").returncode == 0)
    assert stat.S_IMODE((place / "pipe").stat().st_mode) == 0o700
    release(place)
    until(lambda: (place / "mode").read_text() == "DEFAULT")
    assert reserve.poll() is None
    reserve.send_signal(signal.SIGTERM)
    assert reserve.wait(10) == 0


@GIVES_AWAY
def test_the_gpu_is_everybodys_when_the_pod_ends(place: Path, start: Start) -> None:
    reserve = start("reserve", "--user=65534")
    until(lambda: probe("reserve").returncode == 0)
    reserve.send_signal(signal.SIGTERM)
    assert reserve.wait(10) == 0
    assert (place / "mode").read_text() == "DEFAULT"


def test_a_driver_without_the_daemons_program_is_named(
    place: Path,
) -> None:
    (place / "bin" / "nvidia-smi").unlink()
    probed = probe("reserve")
    assert (probed.returncode, probed.stderr) == (1, "nvidia-smi: No such file or directory\n")
