"""A check as data: a table of steps, in the order in which they are verified and read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from checks.result import Checklist
from kube.devices import GPU, MOCK, NO_GPU, SIMULATED
from results.status import Status

LEVELS = (SIMULATED, MOCK, GPU)
"""How real devices are, least real first."""


class Scenario:
    """What the steps of a check look at.

    devices: GPU, MOCK or SIMULATED; remedy: of every step that has none of its own.
    """

    devices = GPU
    remedy = ""


S = TypeVar("S", bound=Scenario, contravariant=True)
Text = str | Callable[[S], str]


@dataclass(frozen=True)
class Step(Generic[S]):
    """One statement about a scenario. A probe of its own has the name of its id.

    probe: returns what it found, or raises CheckFailed or CheckSkipped; title, expected, remedy:
    texts, or functions of the scenario; needs: ids, with spaces between, of the steps without
    which this one has no meaning; least: how real devices must be, else the step is skipped;
    simulated_on: on which devices it counts as simulated; when: whether the scenario has the step
    at all; failure: "warning" for a statement that stops nobody.
    """

    id: str
    title: Text[S]
    probe: Callable[[S], str]
    expected: Text[S]
    needs: Text[S] = ""
    least: str = SIMULATED
    simulated_on: tuple[str, ...] = (MOCK, SIMULATED)
    when: Callable[[S], bool] = lambda _: True
    failure: Status = "failed"
    remedy: Text[S] = ""


def verify(module: str, steps: Iterable[Step[S]], scenario: S) -> Checklist:
    """The checklist of the module, with a finding for each step that the scenario has."""

    def text(of_step: Text[S]) -> str:
        return of_step if isinstance(of_step, str) else of_step(scenario)

    checklist = Checklist(module)
    for step in steps:
        if not step.when(scenario):
            continue
        simulated = scenario.devices in step.simulated_on
        if LEVELS.index(scenario.devices) < LEVELS.index(step.least):
            reason = NO_GPU[scenario.devices]
            checklist.skip(step.id, text(step.title), reason, simulated=simulated)
            continue
        checklist.verify(
            step.id,
            text(step.title),
            partial(step.probe, scenario),
            expected=text(step.expected),
            remedy=text(step.remedy) or scenario.remedy,
            simulated=simulated,
            needs=text(step.needs).split(),
            failure=step.failure,
        )
    return checklist
