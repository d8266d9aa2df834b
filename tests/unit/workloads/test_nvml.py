"""Clocks and power are sampled while something is measured; NVML may be missing."""

from __future__ import annotations

import time

import pytest

from tests.unit.fake_gpu import UUID, Nvml
from workloads import gpu_benchmark, nvml


def test_the_gpu_says_who_it_is_and_how_it_is_set() -> None:
    gpu = nvml.Gpu(UUID, Nvml())
    assert gpu.describe() == {
        "uuid": UUID,
        "name": "NVIDIA H200",
        "driver": "580.159.04",
        "clock_max_mhz": 1980,
        "compute_mode": "Exclusive_Process",
    }
    assert (gpu.clock_mhz(), gpu.power_w()) == (1980, 350.5)


def test_a_call_that_fails_is_told() -> None:
    with pytest.raises(nvml.NvmlError, match="nvmlDeviceGetHandleByUUID: NVML error 6"):
        nvml.Gpu(UUID, Nvml(fail={"nvmlDeviceGetHandleByUUID": 6}))


def test_no_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "LIBRARY", "libnone.so.1")
    with pytest.raises(nvml.NvmlError, match=r"libnone.so.1"):
        nvml.Gpu(UUID)


def test_the_sampler_tells_median_least_and_most() -> None:
    with nvml.Sampler(nvml.Gpu(UUID, Nvml(clocks=[1500, 1980, 1700])), 0.01) as sampler:
        given_up = time.monotonic() + 60
        while sampler.summary()["samples"] < 4 and time.monotonic() < given_up:
            time.sleep(0.01)
    found = sampler.summary()
    assert found["clock_mhz"] == {"median": 1700, "min": 1500, "max": 1980}
    assert found["power_w"] == {"median": 350.5, "min": 350.5, "max": 350.5}
    assert found["throttle_reasons"] == ["software_power_cap", "0x200"]
    assert found["samples"] >= 4


def test_even_the_shortest_measure_has_a_sample() -> None:
    with nvml.Sampler(nvml.Gpu(UUID, Nvml()), 60) as sampler:
        pass
    assert sampler.summary()["samples"] == 1


def test_without_nvml_nothing_is_sampled_and_nothing_is_made_up() -> None:
    with nvml.Sampler(None) as sampler:
        pass
    assert sampler.summary() == {
        "clock_mhz": None,
        "power_w": None,
        "throttle_reasons": None,
        "samples": 0,
    }


def test_a_value_that_this_gpu_cannot_tell_is_null_and_the_others_are_sampled() -> None:
    """As where the GPU is part of a chip whose power is not told apart."""
    played = Nvml(clocks=[1500, 1980], fail={"nvmlDeviceGetPowerUsage": nvml.NOT_SUPPORTED})
    with nvml.Sampler(nvml.Gpu(UUID, played), 0.01) as sampler:
        given_up = time.monotonic() + 60
        while sampler.summary()["samples"] < 3 and time.monotonic() < given_up:
            time.sleep(0.01)
    found = sampler.summary()
    assert found["samples"] >= 3
    assert found["clock_mhz"]["max"] == 1980
    assert found["power_w"] is None
    assert found["nvml_error"] == "nvmlDeviceGetPowerUsage: NVML error 3"


@pytest.mark.parametrize("function", ["nvmlDeviceGetMaxClockInfo", "nvmlDeviceGetComputeMode"])
def test_what_a_gpu_has_not_does_not_hide_the_rest(
    monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    monkeypatch.setattr(nvml, "load_library", lambda: Nvml(fail={function: nvml.NOT_SUPPORTED}))
    gpu, told = gpu_benchmark.read_nvml(UUID)
    assert gpu is not None
    assert told["driver"] == "580.159.04"
    assert [name for name, value in told.items() if value is None] == [
        {"nvmlDeviceGetMaxClockInfo": "clock_max_mhz"}.get(function, "compute_mode")
    ]


def test_a_failure_while_sampling_is_told_and_ends_nothing_else() -> None:
    with nvml.Sampler(nvml.Gpu(UUID, Nvml(fail={"nvmlDeviceGetPowerUsage": 3}))) as sampler:
        pass
    assert sampler.summary()["nvml_error"] == "nvmlDeviceGetPowerUsage: NVML error 3"
