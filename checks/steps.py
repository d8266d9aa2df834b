"""A check as data: a table of steps, in the order in which they are verified and read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from checks.result import Checklist
from kube.devices import BASIS, GPU, LEVELS, MOCK, MOCKED, SIMULATED, too_unreal
from results.status import Basis, Status

REAL_NODES = (MOCK, MOCKED, GPU)
"""Where nodes are real, whatever their devices are."""


class Scenario:
    """What the steps of a check look at.

    devices: what they are, as in kube.devices; remedy: of every step that has none of its own.
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
    real_on: with which devices it is about something real, LEVELS for the cluster itself,
    REAL_NODES for its nodes; when: whether the scenario has the step at all; failure: "warning" for
    a statement that stops nobody.
    """

    id: str
    title: Text[S]
    probe: Callable[[S], str]
    expected: Text[S]
    needs: Text[S] = ""
    least: str = SIMULATED
    real_on: tuple[str, ...] = (GPU,)
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
        basis: Basis = "real" if scenario.devices in step.real_on else BASIS[scenario.devices]
        if LEVELS.index(scenario.devices) < LEVELS.index(step.least):
            reason = too_unreal(scenario.devices, step.least)
            checklist.skip(step.id, text(step.title), reason, basis=basis)
            continue
        checklist.verify(
            step.id,
            text(step.title),
            partial(step.probe, scenario),
            expected=text(step.expected),
            remedy=text(step.remedy) or scenario.remedy,
            basis=basis,
            needs=text(step.needs).split(),
            failure=step.failure,
        )
    return checklist
