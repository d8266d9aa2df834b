"""Two terminals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.checkout import Checkout, Done
from tests.faults.lab import (
    STACK,
    destroy,
    lines_about_resources,
    require_clean_destroy,
    require_nothing_left,
    require_passed,
    running,
    up,
)

IN_USE = f"stack {STACK} is in use by process"


def test_two_stacks_at_once(checkout: Checkout) -> None:
    stacks = ("dev", STACK)
    for stack in stacks:
        checkout.stack(stack)
    with ThreadPoolExecutor() as terminals:
        made = list(terminals.map(lambda stack: up(checkout, stack), stacks))
    assert [done.code for done in made] == [0, 0], "\n".join(done.text for done in made)
    for stack in stacks:
        require_passed(checkout, stack)
    with ThreadPoolExecutor() as terminals:
        ended = list(terminals.map(lambda stack: destroy(checkout, stack), stacks))
    assert [done.code for done in ended] == [0, 0], "\n".join(done.text for done in ended)
    for stack in stacks:
        require_nothing_left(checkout, stack)


def test_what_comes_second_is_told_who_is_at_work_and_changes_nothing(checkout: Checkout) -> None:
    checkout.stack(STACK)
    with running(checkout, "up", "--stack", STACK) as first:
        next(lines_about_resources(first))
        for second in (up(checkout), destroy(checkout), recover(checkout)):
            assert second.code != 0
            assert IN_USE in second.text
            assert "wait for it" in second.text
        printed, _ = first.communicate(timeout=120)
    assert first.returncode == 0, printed
    require_passed(checkout)
    require_clean_destroy(checkout)


def recover(checkout: Checkout) -> Done:
    return checkout.operate("recover", "--stack", STACK)


def test_two_updates_that_begin_together_do_not_hinder_each_other(checkout: Checkout) -> None:
    checkout.stack(STACK)
    with ThreadPoolExecutor() as terminals:
        both = list(terminals.map(lambda _: up(checkout), range(2)))
    assert 0 in [done.code for done in both], "\n".join(done.text for done in both)
    for done in both:
        assert done.code == 0 or IN_USE in done.text or "currently locked" in done.text
        assert "Traceback" not in done.text
    require_passed(checkout)
    require_clean_destroy(checkout)
