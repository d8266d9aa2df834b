"""The benchmark from its arguments to its JSON, on a GPU of ours whose figures are known."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.fake_gpu import COPY_GB_PER_SECOND, FRACTION, MOCKED, NO_DEVICE, UUID, Cuda, Nvml
from workloads import cuda_driver, gpu_benchmark, gpu_kernels, gpu_measures, nvml

QUICK = ["--repeats", "3", "--seconds", "0.1", "--warm-up", "0.01"]
Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(autouse=True)
def _sigterm() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the program on a GPU; returns its exit code and the JSON of its last line."""

    def started(cuda: Cuda, *arguments: str, sampled: Nvml | None = None) -> tuple[int, Any]:
        monkeypatch.setattr(cuda_driver, "load_library", lambda: cuda)
        if sampled is not None:
            monkeypatch.setattr(nvml, "load_library", lambda: sampled)
        code = gpu_benchmark.main([*QUICK, *arguments])
        return code, json.loads(capsys.readouterr().out.splitlines()[-1])

    return started


def test_everything_is_measured_against_what_this_process_was_given(run: Run) -> None:
    code, found = run(Cuda(sm_count=4, mps=1), sampled=Nvml())
    assert code == 0
    assert found["device"]["sm_count"] == 4
    assert found["device"]["uuid"] == found["nvml"]["uuid"] == UUID
    assert found["memory"] == {"free_mib": 96.0, "total_mib": 1024.0}
    assert found["mps"]["client"] is True
    assert list(found["measures"]) == ["fma", "bandwidth", "latency"]
    assert found["start"] is None
    assert "error" not in found


def test_fmas_are_told_as_a_part_of_the_peak_of_these_sms(run: Run) -> None:
    fma = run(Cuda(sm_count=4), "--measure", "fma", sampled=Nvml())[1]["measures"]["fma"]
    assert fma["unit"] == "TFLOPS"
    assert fma["fraction_of_peak"] == pytest.approx(FRACTION, rel=1e-5)
    assert fma["tflops"] == fma["median"] == pytest.approx(4 * 128 * 2 * 1980e6 * FRACTION / 1e12)
    assert fma["tflops_per_sm"] == fma["tflops"] / 4
    assert len(fma["values"]) == 3
    assert fma["cv"] < 1e-5
    assert fma["peak_clock"] == "median while measuring"
    assert fma["power_w"]["median"] == 350.5


def test_the_clock_while_measuring_makes_the_peak(run: Run) -> None:
    found = run(Cuda(), "--measure", "fma", sampled=Nvml(clocks=[1782]))[1]["measures"]["fma"]
    assert found["peak_at_mhz"] == 1782
    assert found["fraction_of_peak"] == pytest.approx(FRACTION * 1980 / 1782)


def test_without_nvml_the_fraction_is_a_lower_bound_and_says_so(run: Run) -> None:
    code, found = run(Cuda(), "--measure", "fma")
    fma = found["measures"]["fma"]
    assert code == 0
    assert "libnvidia-ml.so.1" in found["nvml"]["error"]
    assert (fma["clock_mhz"], fma["power_w"], fma["samples"]) == (None, None, 0)
    assert fma["peak_clock"] == "maximum, as NVML is missing"
    assert fma["fraction_of_peak"] == pytest.approx(FRACTION)


def test_bandwidth_counts_what_is_read_and_written(run: Run) -> None:
    found = run(Cuda(), "--measure", "bandwidth", sampled=Nvml())[1]["measures"]["bandwidth"]
    assert (found["unit"], found["copied_mib"]) == ("GB/s", 16)
    assert found["median"] == pytest.approx(COPY_GB_PER_SECOND, rel=1e-5)


def test_a_copy_leaves_room_for_neighbours() -> None:
    mib = cuda_driver.MIB
    sizes = [gpu_measures.copy_size(free * mib) // mib for free in (10, 901, 140_000)]
    assert sizes == [16, 224, 1024]


def test_latency_has_a_middle_and_a_tail(run: Run) -> None:
    found = run(Cuda(), "--measure", "latency", sampled=Nvml())[1]["measures"]["latency"]
    assert found["unit"] == "µs"
    assert 0 < found["p50"] == found["median"] <= found["p99"]
    assert len(found["p99_values"]) == 3
    assert found["launches"] >= 4 * gpu_measures.BATCH


def test_the_windows_lie_within_start_and_end_by_the_nodes_clock(run: Run) -> None:
    before = time.time()
    found = run(Cuda(), "--measure", "latency", sampled=Nvml())[1]["measures"]["latency"]
    moments = [moment for window in found["windows"] for moment in window]
    assert moments == sorted(moments)
    assert before < found["start"] <= moments[0]
    assert moments[-1] <= found["end"] < time.time()


@pytest.mark.parametrize("measure", gpu_measures.MEASURES)
def test_work_that_was_not_done_is_not_counted(run: Run, measure: str) -> None:
    code, found = run(Cuda(idle=True), "--measure", measure, sampled=Nvml())
    assert code == gpu_benchmark.GPU_FAILED
    assert found["error"].startswith(f"{measure}: the kernel did not")
    assert found["measures"] == {}


def test_allocations_are_tried_and_given_back(run: Run) -> None:
    _, found = run(Cuda(), "--measure", "", "--allocate", "64", "65", "2048", sampled=Nvml())
    assert all(isinstance(tried.pop("at"), float) for tried in found["allocations"])
    assert found["allocations"] == [
        {"mib": 64, "result": "granted"},
        {"mib": 65, "result": "granted"},
        {"mib": 2048, "result": "CUDA_ERROR_OUT_OF_MEMORY"},
    ]
    assert found["measures"] == {}


# --- what goes wrong --------------------------------------------------------------------------


def test_an_error_of_cuda_is_one_line_and_json(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, found = run(Cuda(fail={"cuInit": NO_DEVICE}))
    assert code == gpu_benchmark.GPU_FAILED == 3
    assert found["error"].startswith("cuInit: CUDA_ERROR_NO_DEVICE")


def test_on_a_mocked_gpu_it_waits_and_tells_what_its_claim_brought_and_no_figure(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "control").touch()
    (tmp_path / "annotations").write_text('dra-workshop/start="1.0"\n')
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    mocked = Cuda(fail={"cuInit": NO_DEVICE}, error_text=MOCKED)
    code, found = run(mocked, "--start-file", str(tmp_path / "annotations"), sampled=Nvml())
    assert code == gpu_benchmark.GPU_FAILED
    assert found["error"] == f"cuInit: CUDA_ERROR_NO_DEVICE ({MOCKED.decode()})"
    assert found["start"]["requested"] == 1.0
    assert found["environment"]["CUDA_MPS_PIPE_DIRECTORY"] == str(tmp_path)
    assert found["mps"]["pipe_directory_set"] is True
    assert found["mps"]["pipes"] == ["annotations", "control"]
    assert not {"device", "memory", "measures", "allocations"} & {*found}


def test_what_was_found_before_an_error_is_kept(run: Run) -> None:
    code, found = run(Cuda(free=10 * cuda_driver.MIB), "--measure", "fma,bandwidth", sampled=Nvml())
    assert code == 3
    assert list(found["measures"]) == ["fma"]
    assert found["error"].startswith("cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY")


def test_sigterm_ends_it_with_what_was_found(run: Run) -> None:
    def end_while_measuring(function: str) -> None:
        if function == "cuLaunchKernel" and cuda.kernels[-1] == gpu_kernels.TICK:
            os.kill(os.getpid(), signal.SIGTERM)

    cuda = Cuda(before=end_while_measuring)
    code, found = run(cuda, sampled=Nvml())
    assert (code, found["error"]) == (143, "ended by SIGTERM")
    assert list(found["measures"]) == ["fma", "bandwidth"]
    assert cuda.called[-1] == "cuDevicePrimaryCtxRelease_v2"


@pytest.mark.parametrize(("exit_zero", "code"), [([], "3"), (["--exit-zero"], "0")])
def test_a_gpu_that_does_not_answer_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    exit_zero: list[str],
    code: str,
) -> None:
    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(gpu_benchmark, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(os, "_exit", leave)
    driver = cuda_driver.Driver(Cuda())
    monkeypatch.setattr(driver, "waiting", lambda: ("cuEventSynchronize", 61.0))
    options = gpu_benchmark.parse_arguments(["--patience", "60", *exit_zero])
    with pytest.raises(SystemExit, match=code):
        gpu_benchmark.watch(driver, options, {"device": {}}, threading.Event())
    found = json.loads(capsys.readouterr().out)
    assert found == {"device": {}, "error": "cuEventSynchronize: no answer for 60 s"}


def test_a_client_of_mps_that_waits_for_ever_is_told_of_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65533)
    monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY", raising=False)
    assert gpu_benchmark.no_answer("cuInit", 60) == "no answer for 60 s"
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", "/mps/pipe")
    assert "this is user 65533, and an MPS daemon serves one user at a time" in (
        gpu_benchmark.no_answer("cuInit", 60)
    )


def test_a_start_that_does_not_come_is_told(run: Run, tmp_path: Path) -> None:
    annotations = tmp_path / "annotations"
    annotations.write_text("")
    waiting = ["--start-file", str(annotations), "--start-timeout", "0.3"]
    code, found = run(Cuda(), *waiting, sampled=Nvml())
    assert code == 4
    assert found["error"].startswith("no annotation dra-workshop/start=…")
    assert found["device"]["sm_count"] == 4


def test_with_exit_zero_an_error_is_in_the_json_only(run: Run) -> None:
    code, found = run(Cuda(fail={"cuInit": NO_DEVICE}), "--exit-zero")
    assert code == 0
    assert found["error"].startswith("cuInit: CUDA_ERROR_NO_DEVICE")


@pytest.fixture
def _asleep_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sleeping takes no time, but moves the clock on."""
    now, slept = time.time, [0.0]
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "time", lambda: now() + sum(slept))


@pytest.mark.usefixtures("_asleep_at_once")
def test_nothing_is_measured_or_allocated_before_the_start(run: Run, tmp_path: Path) -> None:
    annotations = tmp_path / "annotations"
    moment = time.time() + 60
    annotations.write_text(f'dra-workshop/start="{moment}"\n')
    waiting = ["--start-file", str(annotations), "--measure", "fma", "--allocate", "64"]
    _, found = run(Cuda(), *waiting, sampled=Nvml())
    assert found["start"]["requested"] == moment
    assert found["measures"]["fma"]["start"] >= moment
    assert found["began"] < moment <= found["allocations"][0]["at"]


# --- the command line -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--measure", "fma,flops"], "'flops' is none of fma, bandwidth, latency"),
        (["--repeats", "0"], "'0' is not a whole number above 0"),
        (["--allocate", "512", "-1"], "unrecognized arguments|is not a whole number|expected"),
        (["--seconds", "nan"], "'nan' is not a number above 0"),
        (["--warm-up", "none"], "'none' is not a number above 0"),
        (["--patience", "inf"], "'inf' is not a number above 0"),
    ],
)
def test_bad_arguments_are_told(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        gpu_benchmark.parse_arguments(arguments)
    error = capsys.readouterr().err
    assert any(each in error for each in told.split("|"))


def test_everything_is_measured_by_default() -> None:
    options = gpu_benchmark.parse_arguments([])
    assert options.measure == ["fma", "bandwidth", "latency"]
    assert (options.repeats, options.seconds, options.allocate) == (5, 0.5, [])


def test_it_runs_where_a_config_map_puts_its_files_side_by_side(tmp_path: Path) -> None:
    """As links into a folder, and on this machine without a GPU."""
    data = tmp_path / "..data"
    data.mkdir()
    for path in Path(gpu_benchmark.__file__).parent.glob("*.py"):
        shutil.copy(path, data)
        (tmp_path / path.name).symlink_to(Path("..data") / path.name)
    ended = subprocess.run(
        [sys.executable, str(tmp_path / "gpu_benchmark.py"), "--measure", "fma", *QUICK],
        env={"PATH": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = json.loads(ended.stdout.splitlines()[-1])
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has a GPU")
    assert ended.returncode == 3
    assert found["error"].startswith("dlopen: no CUDA driver (libcuda.so.1")
    assert len(ended.stderr.splitlines()) == 1
