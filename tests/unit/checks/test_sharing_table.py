"""What is made of what clients measured side by side."""

from __future__ import annotations

from typing import Any

import pytest

from checks import sharing_table
from checks.sharing_table import figures, rows, table_rows, winner, winners


def slot(rate: float, energy: float | None = 300.0) -> dict[str, Any]:
    return {
        "began": 10.0, "ended": 11.0, "launches": 5, "rate": rate,
        "p50_us": 100 / rate, "p99_us": 200 / rate, "energy_j": energy,
    }  # fmt: skip


def cell(way: str, *clients: list[float], energy: float | None = 300.0) -> dict[str, Any]:
    """clients: the rates of each, slot for slot."""
    outputs = [
        {
            "workloads": {
                "compute": {
                    "unit": "TFLOPS",
                    "slots": [slot(rate, energy) for rate in rates],
                    "power_w": {"median": 250.0},
                }
            }
        }
        for rates in clients
    ]
    return {"way": way, "clients": len(clients), "outputs": outputs}


ALONE = cell("exclusive", [60.0, 60.0, 60.0])


def test_clients_are_added_slot_for_slot_and_compared_with_one_alone() -> None:
    shared = cell("time-sliced", [20.0, 22.0, 21.0], [30.0, 28.0, 29.0])
    _, row = rows([ALONE, shared], "compute")
    assert (row["way"], row["clients"], row["total"]) == ("time-sliced", 2, 50)
    assert row["each"] == 25
    assert row["cv"] == 0, "what one gets more the other gets less"
    assert row["cv_of_client"] > 0
    assert row["slowdown"] == pytest.approx(60 / 25)
    assert row["gain"] == pytest.approx(50 / 60)
    assert row["jain"] == pytest.approx(50**2 / (2 * (21**2 + 29**2)))


def test_the_energy_is_that_of_the_whole_gpu_by_the_work_of_all() -> None:
    shared = cell("time-sliced", [20.0] * 3, [30.0] * 3)
    row = figures(shared, "compute")
    assert (row["power_w"], row["joules"]) == (250, 5)
    assert sharing_table.energy_from(shared["outputs"][0], "compute") == "power"


def test_without_samples_of_its_power_the_gpu_counts() -> None:
    alone = cell("exclusive", [50.0] * 3)
    alone["outputs"][0]["workloads"]["compute"]["power_w"] = None
    row = figures(alone, "compute")
    assert (row["power_w"], row["joules"]) == (300, 6)
    assert sharing_table.energy_from(alone["outputs"][0], "compute") == "counter"


def test_jains_index_says_how_even_the_rates_are() -> None:
    assert sharing_table.jain([5, 5, 5]) == 1
    assert sharing_table.jain([1, 0, 0, 0]) == 0.25


def test_nothing_is_compared_before_one_was_measured_alone() -> None:
    (row,) = rows([cell("mps-driver", [30.0], [30.0])], "compute")
    assert (row["slowdown"], row["gain"]) == (None, None)


def total(way: str, clients: int, rate: float, cv: float = 0.0) -> dict[str, Any]:
    return {"way": way, "clients": clients, "total": rate, "cv": cv}


def test_a_winner_is_outside_the_noise() -> None:
    assert winner([total("a", 2, 110, 0.02), total("b", 2, 100, 0.03)]) == "a, 10.0% above b"


@pytest.mark.parametrize(
    ("best", "cv", "noise"), [(104, 0.03, "6.0%"), (100.9, 0.0, "1.0%"), (100, 0.0, "1.0%")]
)
def test_within_the_noise_nobody_wins(best: float, cv: float, noise: str) -> None:
    candidates = [total("b", 2, 100, cv), total("a", 2, best, cv), total("c", 2, 50, cv)]
    assert winner(candidates) in (
        f"none: a, b are within {noise}",
        f"none: b, a are within {noise}",
    )


def test_one_after_the_other_is_a_way_for_any_number_of_clients() -> None:
    found = [total("exclusive", 1, 60), total("mps", 1, 60), total("mps", 2, 40),
             total("time", 2, 30), total("mps", 4, 90)]  # fmt: skip
    assert winners(found) == {
        2: "exclusive, 50.0% above mps",
        4: "mps, 50.0% above exclusive",
    }


def test_a_way_that_was_not_measured_has_a_row_with_its_reason() -> None:
    found = table_rows(rows([ALONE], "compute"), {"shares": "needs consumableShares"})
    assert found[-1] == {"way": "shares", "clients": None, "skipped": "needs consumableShares"}
    assert found[0]["total"] == 60
