"""Nothing is left of a benchmark, however it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bench import workplace
from tests.checkout import Checkout


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No copy of the project is needed to see that it is removed; signals stay the tests'."""

    def make(folder: Path) -> Checkout:
        folder.mkdir()
        return Checkout(folder)

    monkeypatch.setattr(Checkout, "make", make)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("how", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_files_and_processes_go(bare: Path, how: type[BaseException]) -> None:
    command = [sys.executable, "-c", "input()"]
    with pytest.raises(how), workplace.workplace() as checkout:
        sleeper = subprocess.Popen(command, cwd=checkout.folder, stdin=subprocess.PIPE)
        raise how
    assert not psutil.pid_exists(sleeper.pid)
    assert list(bare.iterdir()) == []


def test_one_that_does_not_want_to_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workplace, "SECONDS", 0.2)
    deaf = "import signal; signal.signal(15, signal.SIG_IGN); print(flush=True); input()"
    command = [sys.executable, "-c", deaf]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        workplace.end_processes(tmp_path)
        assert not psutil.pid_exists(process.pid)


def test_what_runs_elsewhere_stays(tmp_path: Path) -> None:
    beside = tmp_path / "bench-other"
    beside.mkdir()
    mine = tmp_path / "bench"
    mine.mkdir()
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, cwd=beside, stdin=subprocess.PIPE) as process:
        workplace.end_processes(mine)
        assert process.poll() is None
        process.kill()
