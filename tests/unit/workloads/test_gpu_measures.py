"""What is made of measured values."""

from __future__ import annotations

import pytest

from workloads import gpu_measures


def test_variation_is_the_samples_deviation_by_its_mean() -> None:
    assert gpu_measures.summarize("", [9, 10, 11])["cv"] == pytest.approx(0.1)
    assert gpu_measures.summarize("", [10])["cv"] == 0


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([5], 99, 5), ([1, 2, 3, 4], 50, 2), (range(1, 101), 99, 99), (range(1, 201), 99, 198)],
)
def test_a_percentile_is_one_of_the_values(
    values: list[float], percent: float, expected: float
) -> None:
    assert gpu_measures.percentile(list(reversed(values)), percent) == expected


def test_a_summary_keeps_every_value() -> None:
    assert gpu_measures.summarize("GB/s", [3, 1, 2]) == {
        "unit": "GB/s",
        "values": [3, 1, 2],
        "median": 2,
        "cv": 0.5,
    }


@pytest.mark.parametrize(
    ("capability", "sm_count", "clock_mhz", "expected"),
    [
        ((9, 0), 132, 1980, 66.908),  # H200
        ((9, 0), 26, 1980, 13.179),
        ((7, 0), 80, 1530, 15.667),  # V100
        ((8, 0), 108, 1410, 19.492),  # A100
        ((8, 6), 84, 1695, 36.450),  # RTX A6000 and 3090 kind
        ((12, 0), 170, 2407, 104.753),  # RTX 5090
    ],
)
def test_the_peak_counts_the_lanes_of_the_capability(
    capability: tuple[int, int], sm_count: int, clock_mhz: float, expected: float
) -> None:
    found = gpu_measures.peak_tflops(capability, sm_count, clock_mhz)
    assert found == pytest.approx(expected, abs=0.001)


def test_an_unknown_gpu_has_no_peak() -> None:
    assert gpu_measures.peak_tflops((99, 0), 132, 1980) is None
