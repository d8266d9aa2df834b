"""Modules, their edges and the stacks that show them belong together."""

from __future__ import annotations

import json

import pytest

from components.modules.registry import closure, modules
from components.settings import model
from machine.configuration import read_configuration


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (["0"], ["0"]),
        (["3"], ["0", "1", "2", "3"]),
        (["2", "0"], ["0", "1", "2"]),
        (["3", "1"], ["0", "1", "2", "3"]),
    ],
)
def test_the_closure_holds_what_is_needed_before_what_needs_it(
    wanted: list[str], ids: list[str]
) -> None:
    assert [module.id for module in closure(wanted)] == ids


def test_an_unknown_module_has_no_closure() -> None:
    with pytest.raises(KeyError):
        closure(["99"])


def test_every_module_has_a_stack_that_ends_with_it() -> None:
    for module in modules().values():
        wanted = json.loads(read_configuration(module.stack)["modules"])
        assert closure(wanted)[-1] is module


def test_every_module_needs_only_modules_that_exist() -> None:
    for module in modules().values():
        assert set(module.needs) <= set(modules())


def test_every_module_reads_settings_that_exist() -> None:
    for module in modules().values():
        assert set(module.settings) <= {setting.key for setting in model.SETTINGS.values()}


def test_modules_are_in_the_order_of_the_workshop() -> None:
    numbers = [float(each) for each in modules() if each[0].isdigit()]
    assert numbers == sorted(numbers)
    assert list(modules())[:3] == ["0", "1", "2"]
