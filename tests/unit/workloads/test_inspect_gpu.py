"""A pod says which GPUs it sees, or that it sees none, before it holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.fake_gpu import MOCKED, NO_DEVICE, UUID, Cuda, Nvml
from workloads import cuda_driver, inspect_gpu, nvml


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of /dev."""
    monkeypatch.setattr(inspect_gpu, "DEVICES", tmp_path)
    (tmp_path / "null").touch()
    return tmp_path


def test_a_pod_with_a_gpu_tells_its_uuid_and_device_files(
    devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("nvidiactl", "nvidia0", "nvidia-uvm"):
        (devices / name).touch()
    monkeypatch.setattr(cuda_driver, "load_library", Cuda)
    monkeypatch.setattr(nvml, "load_library", Nvml)
    found = inspect_gpu.inspect()
    assert found["device_files"] == ["nvidia-uvm", "nvidia0", "nvidiactl"]
    assert found["gpus"] == [{"uuid": UUID, "minor": 0}]
    assert found["libcuda"] is True
    assert "error" not in found


def test_a_pod_without_a_gpu_tells_that_there_is_nothing(
    devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_driver, "LIBRARY", "libnone.so.1")
    found = inspect_gpu.inspect()
    assert (found["device_files"], found["gpus"], found["libcuda"]) == ([], [], False)
    assert "libnone.so.1" in found["error"]


def test_a_driver_that_fails_is_told(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "load_library", lambda: Cuda(fail={"cuInit": NO_DEVICE}))
    found = inspect_gpu.inspect()
    assert found["libcuda"] is True
    assert found["error"].startswith("cuInit: CUDA_ERROR_NO_DEVICE")


def test_of_a_mocked_gpu_nvml_lists_what_the_claim_brought(
    devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mocked = Cuda(fail={"cuInit": NO_DEVICE}, error_text=MOCKED)
    monkeypatch.setattr(cuda_driver, "load_library", lambda: mocked)
    monkeypatch.setattr(nvml, "load_library", Nvml)
    found = inspect_gpu.inspect()
    assert found["gpus"] == [{"uuid": UUID, "minor": 0}]
    assert found["mocked"] == f"cuInit: CUDA_ERROR_NO_DEVICE ({MOCKED.decode()})"
    assert "error" not in found


def test_what_cdi_specs_brought_is_told(
    devices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    line = "7 1 8:1 /usr/lib64/{0} /usr/lib64/{0} ro - ext4 /dev/sda1 ro\n"
    names = ("libnvidia-ml.so.580.1", "libcuda.so.580.1", "libc.so.6")
    mounts.write_text("".join(map(line.format, names)))
    monkeypatch.setattr(inspect_gpu, "MOUNTS", mounts)
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", "void")
    found = inspect_gpu.inspect()
    assert found["libraries"] == ["libcuda.so.580.1", "libnvidia-ml.so.580.1"]
    assert found["environment"] == {"NVIDIA_VISIBLE_DEVICES": "void"}


def test_after_its_line_it_holds_until_it_is_let_go(tmp_path: Path) -> None:
    podinfo = tmp_path / "annotations"
    podinfo.write_text('dra-workshop/release="true"\n')
    ended = subprocess.run(
        [sys.executable, str(Path(inspect_gpu.__file__))],
        env=os.environ | {"DRA_WORKSHOP_ANNOTATIONS": str(podinfo)},
        stdout=subprocess.PIPE, text=True, check=True, timeout=60,
    )  # fmt: skip
    line, *held = ended.stdout.splitlines()
    assert json.loads(line)["program"] == "inspect_gpu"
    assert held == ["holding", "released"]
