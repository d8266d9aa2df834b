"""A client among several, from its arguments to its JSON, on a GPU of ours."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from components.workload import SHARING
from tests.unit.fake_gpu import MOCKED, NO_DEVICE, POWER_W, UUID, Cuda, Nvml
from workloads import cuda_driver, nvml, sharing_client

REPEATS, SECONDS, WARM_UP = 3, 0.1, 0.05
PLAN = ["--repeats", str(REPEATS), "--seconds", str(SECONDS), "--warm-up", str(WARM_UP)]


@pytest.fixture(autouse=True)
def _sigterm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sharing_client, "PAUSE_SECONDS", 0.1)
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cuda: Cuda,
    *arguments: str,
    sampled: Nvml | None = None,
) -> tuple[int, dict[str, Any]]:
    monkeypatch.setattr(cuda_driver, "load_library", lambda: cuda)
    if sampled is not None:
        monkeypatch.setattr(nvml, "load_library", lambda: sampled)
    code = sharing_client.main([*PLAN, *arguments])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_each_workload_fills_its_slots_without_a_pause(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = run(monkeypatch, capsys, Cuda(), sampled=Nvml())
    assert code == 0
    assert "error" not in found
    assert found["device"]["uuid"] == UUID
    units = {name: each["unit"] for name, each in found["workloads"].items()}
    assert units == {"compute": "TFLOPS", "bandwidth": "GB/s", "small-kernels": "1000/s"}
    for each in found["workloads"].values():
        slots = each["slots"]
        assert len(slots) == REPEATS
        assert slots[0]["began"] >= each["begins"] + WARM_UP
        for slot, following in pairwise(slots):
            assert 0 <= following["began"] - slot["ended"] < 0.02
        for slot in slots:
            assert slot["rate"] > 0
            assert 0 < slot["p50_us"] <= slot["p99_us"]
            watts = slot["energy_j"] / (slot["ended"] - slot["began"])
            assert watts == pytest.approx(POWER_W, rel=0.05)


def test_the_plan_follows_from_the_common_start_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    start = time.time() + 0.5
    file = tmp_path / "annotations"
    file.write_text(f'dra-workshop/start="{start}"\n')
    found = run(monkeypatch, capsys, Cuda(), "--start-file", str(file))[1]["workloads"]
    step = WARM_UP + REPEATS * SECONDS + sharing_client.PAUSE_SECONDS
    assert [each["begins"] for each in found.values()] == [
        pytest.approx(start + number * step, abs=1e-3) for number in range(3)
    ]


def test_without_nvml_there_is_a_rate_and_no_energy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(monkeypatch, capsys, Cuda())[1]["workloads"]["compute"]
    assert {slot["energy_j"] for slot in found["slots"]} == {None}
    assert found["power_w"] is None


def test_work_that_was_not_done_is_no_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = run(monkeypatch, capsys, Cuda(idle=True))
    assert code == 3
    assert "the kernel did not" in found["error"]


def test_on_a_mocked_gpu_it_waits_for_its_start_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "annotations"
    file.write_text(f'dra-workshop/start="{time.time()}"\n')
    cuda = Cuda(error_text=MOCKED, fail={"cuInit": NO_DEVICE})
    code, found = run(monkeypatch, capsys, cuda, "--start-file", str(file), "--exit-zero")
    assert code == 0
    assert "the GPU is mocked" in found["error"]
    assert found["start"]["late_seconds"] >= 0
    assert "workloads" not in found


@pytest.mark.parametrize(("gib", "mib"), [(80, 1024), (24, 768), (1, 32)])
def test_buffers_leave_room_for_neighbours(gib: int, mib: int) -> None:
    assert sharing_client.copy_size(gib * 1024 * cuda_driver.MIB) == mib * cuda_driver.MIB


def test_it_starts_where_its_files_lie_side_by_side(tmp_path: Path) -> None:
    for name in SHARING:
        (tmp_path / f"{name}.py").write_text(Path(f"workloads/{name}.py").read_text())
    program = [sys.executable, str(tmp_path / "sharing_client.py"), "--help"]
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--start-file" in done.stdout
