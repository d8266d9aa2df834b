"""A table of steps becomes findings: in its order, as far as devices are real enough."""

from __future__ import annotations

from typing import Any

import pytest

from checks.result import CheckFailed
from checks.steps import Scenario, Step, verify
from kube.devices import GPU, LEVELS, MOCK, MOCKED, SIMULATED
from tests.unit.fake_kube import findings, statuses


class House(Scenario):
    remedy = "paint it"
    colour = "blue"

    def __init__(self, devices: str = GPU) -> None:
        self.devices = devices

    def painted(self) -> str:
        if self.colour != "blue":
            raise CheckFailed(self.colour)
        return self.colour


STEPS: tuple[Step[House], ...] = (
    Step("colour", lambda s: f"it is {s.colour}", House.painted, "blue"),
    Step("heat", "it is warm", lambda _: "21", "20", needs="colour", least=GPU),
    Step("shade", "it has one", lambda _: "a tree", "any", needs="colour heat", real_on=LEVELS),
    Step("model", "it stands", lambda _: "paper", "paper", when=lambda s: s.devices == MOCK),
)


def run(house: House) -> dict[str, Any]:
    return verify("3", STEPS, house).to_json()


def test_the_findings_are_those_of_the_table_in_its_order() -> None:
    result = run(House())
    assert (result["module"], result["status"]) == ("3", "passed")
    assert [finding["id"] for finding in result["checks"]] == ["colour", "heat", "shade"]
    found = findings(result)["colour"]
    assert (found["title"], found["expected"], found["found"]) == ("it is blue", "blue", "blue")


def test_a_step_that_fails_has_the_remedy_of_the_scenario_and_stops_what_needs_it() -> None:
    house = House()
    house.colour = "red"
    result = run(house)
    assert statuses(result) == {
        "colour": "failed",
        "heat": "needs colour",
        "shade": "needs colour",
    }
    assert findings(result)["colour"]["remedy"] == "paint it"


@pytest.mark.parametrize(
    ("devices", "basis", "reason"),
    [
        (SIMULATED, "simulated", "needs a GPU: this node is simulated"),
        (MOCK, "mocked", "needs a GPU: this driver's devices are mocks"),
        (MOCKED, "mocked", "needs a GPU: this node's GPUs are mocked"),
    ],
)
def test_what_needs_more_than_the_devices_are_is_skipped_with_the_reason(
    devices: str, basis: str, reason: str
) -> None:
    result = run(House(devices))
    assert statuses(result)["heat"] == reason
    assert statuses(result)["shade"] == "needs heat"
    bases = {identity: found["basis"] for identity, found in findings(result).items()}
    assert bases.pop("shade") == "real"
    assert {*bases.values()} == {basis}
    assert ("model" in bases) is (devices == MOCK)


def test_what_a_mocked_gpu_can_show_is_verified_on_it_and_on_a_gpu() -> None:
    steps = (Step[House]("door", "it opens", lambda _: "open", "open", least=MOCKED),)
    found = {
        devices: (finding["status"], finding["basis"], finding["simulated"], finding["found"])
        for devices in LEVELS
        for finding in verify("3", steps, House(devices)).to_json()["checks"]
    }
    skipped = "needs a GPU, real or mocked: this"
    assert found == {
        GPU: ("passed", "real", False, "open"),
        MOCKED: ("passed", "mocked", True, "open"),
        MOCK: ("skipped", "mocked", True, f"{skipped} driver's devices are mocks"),
        SIMULATED: ("skipped", "simulated", True, f"{skipped} node is simulated"),
    }
