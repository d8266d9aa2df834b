"""SIGKILL of the engine, anywhere: the next `make up` or `make destroy` goes on."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.checkout import ROOT, Checkout
from tests.faults.lab import (
    STACK,
    engine_of,
    go_on_until,
    kill_all,
    kill_engine,
    require_clean_destroy,
    require_passed,
    results,
    running,
    up,
)
from tests.marks import repeat

SEED = 20261121
KILLS = {"up": 14, "destroy": 6}
RELEASE = "Release driver creating"
GONE = f"the files of cluster {STACK} are gone"


def lines(verb: str) -> int:
    """How many lines of progress there are at least: one when a resource is begun, for those
    that are more than a name also one when it is done."""
    plan = yaml.safe_load((ROOT / "tests/plan/golden" / f"{STACK}.yaml").read_text())
    made = [name for name in plan if not name.startswith("dra-workshop:")]
    return len(plan) + len(made) - 2 if verb == "up" else len(plan) - 2


def points() -> Iterator[tuple[str, int]]:
    """One point, drawn by lot, in each of as many equal parts of an operation."""
    lot = random.Random(SEED)  # noqa: S311
    for verb, kills in KILLS.items():
        width = lines(verb) / kills
        for part in range(kills):
            yield verb, 1 + int(part * width + lot.random() * width)


def cases() -> Iterator[Any]:
    """Every third of the points, and repeats between them."""
    for number, (verb, after) in enumerate(points()):
        case = repeat if number % 3 else pytest.param
        yield case(verb, after, id=f"{verb}-{after}")


@pytest.mark.parametrize(("verb", "after"), list(cases()))
def test_a_killed_engine(checkout: Checkout, verb: str, after: int) -> None:
    checkout.stack(STACK)
    if verb == "destroy":
        require_passed(checkout)
    kept = results(checkout)
    kill_engine(checkout, verb, after)
    assert results(checkout).items() >= kept.items(), "no result that was saved is lost"

    if verb == "destroy":
        goes_on = up(checkout)
        assert goes_on.code == 0 or GONE in goes_on.text, goes_on.text
        if goes_on.code:
            require_clean_destroy(checkout)
    require_passed(checkout)
    settled = checkout.preview(STACK, "--expect-no-changes")
    assert settled.code == 0, settled.text
    require_clean_destroy(checkout)


@pytest.mark.parametrize("point", ["Command cluster creating", "Pod module3-pod-1 creating"])
def test_after_a_kill_destroy_alone_is_enough(checkout: Checkout, point: str) -> None:
    checkout.stack(STACK)
    kill_engine(checkout, "up", point)
    require_clean_destroy(checkout)


def test_pods_that_a_killed_check_left_do_not_keep_the_gpu_from_earlier_modules(
    checkout: Checkout,
) -> None:
    """After a kill all modules begin anew, and take turns: the pods of a later one still run."""
    stack = "module4"
    checkout.stack(stack)
    checkout.configure(stack, "modules[1]", "3")
    kill_engine(checkout, "up", "Command check-mps-sharing creating", stack)
    require_passed(checkout, stack)
    require_clean_destroy(checkout, stack)


def test_recover_makes_a_plain_update_possible_and_says_what_it_did(checkout: Checkout) -> None:
    checkout.stack(STACK)
    kill_engine(checkout, "up", RELEASE)
    refused = checkout.up(STACK)
    assert refused.code != 0

    recovered = checkout.operate("recover", "--stack", STACK)
    assert recovered.code == 0, recovered.text
    assert "removed the lock of process" in recovered.text
    assert "never finished" in recovered.text
    assert checkout.up(STACK).code == 0

    intact = checkout.operate("recover", "--stack", STACK)
    assert (intact.code, intact.text) == (0, f"stack {STACK}: nothing to recover\n")
    require_clean_destroy(checkout)


def test_a_loss_of_power_in_the_middle_of_an_update(checkout: Checkout) -> None:
    checkout.stack(STACK)
    with running(checkout, "up", "--stack", STACK) as process:
        go_on_until(process, RELEASE)
        kill_all(checkout)
    assert checkout.processes() == []
    require_passed(checkout)
    require_clean_destroy(checkout)


def test_ctrl_c_ends_an_update_in_good_order(checkout: Checkout) -> None:
    checkout.stack(STACK)
    with running(checkout, "up", "--stack", STACK) as process:
        go_on_until(process, RELEASE)
        process.send_signal(signal.SIGINT)  # a terminal sends it to both
        engine_of(process).send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    assert process.returncode != 0
    intact = checkout.operate("recover", "--stack", STACK)
    assert "nothing to recover" in intact.text
    require_passed(checkout)
    require_clean_destroy(checkout)
