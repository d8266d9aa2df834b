"""A checklist says of every statement what was expected, what was found and what to do."""

from __future__ import annotations

import json
from typing import NoReturn

import pytest

from checks.result import CheckFailed, Checklist, CheckSkipped
from results.status import skipped, verdict
from tests.unit.fake_kube import findings, statuses


@pytest.fixture
def checklist() -> Checklist:
    return Checklist("3")


def holds(checklist: Checklist, identity: str, *needs: str) -> bool:
    return checklist.verify(
        identity, "it is so", lambda: "blue", expected="blue", remedy="paint it", needs=needs
    )


def fails(checklist: Checklist, identity: str, *needs: str, warning: bool = False) -> bool:
    def probe() -> NoReturn:
        raise CheckFailed("red")

    return checklist.verify(
        identity,
        "it is so",
        probe,
        expected="blue",
        remedy="paint it",
        needs=needs,
        failure="warning" if warning else "failed",
    )


def test_a_statement_that_holds_says_what_was_found_and_needs_no_remedy(
    checklist: Checklist,
) -> None:
    assert holds(checklist, "colour")
    found = findings(checklist.to_json())["colour"]
    assert found.pop("seconds") >= 0
    assert found == {
        "id": "colour",
        "title": "it is so",
        "status": "passed",
        "basis": "real",
        "simulated": False,
        "expected": "blue",
        "found": "blue",
        "remedy": "",
    }


def test_a_statement_that_does_not_hold_says_what_was_found_instead_and_the_remedy(
    checklist: Checklist,
) -> None:
    assert not fails(checklist, "colour")
    found = findings(checklist.to_json())["colour"]
    assert (found["status"], found["found"], found["remedy"]) == ("failed", "red", "paint it")
    assert checklist.to_json()["status"] == "failed"


def test_a_warning_keeps_its_remedy_but_fails_nobody(checklist: Checklist) -> None:
    assert not fails(checklist, "colour", warning=True)
    assert holds(checklist, "shade", "colour"), "a warning does not stop what needs it"
    found = findings(checklist.to_json())["colour"]
    assert (found["status"], found["remedy"]) == ("warning", "paint it")
    assert checklist.to_json()["status"] == "passed"


def test_what_needs_a_failed_statement_is_skipped_and_so_is_what_needs_that(
    checklist: Checklist,
) -> None:
    holds(checklist, "house")
    fails(checklist, "wall", "house")
    assert not holds(checklist, "colour", "house", "wall")
    assert not holds(checklist, "shade", "colour")
    assert statuses(checklist.to_json()) == {
        "house": "passed",
        "wall": "failed",
        "colour": "needs wall",
        "shade": "needs colour",
    }


def test_a_probe_whose_needs_are_unmet_is_not_run(checklist: Checklist) -> None:
    def probe() -> NoReturn:
        pytest.fail("it was run")

    checklist.verify("colour", "it is so", probe, expected="", remedy="", needs=["never-verified"])
    assert statuses(checklist.to_json()) == {"colour": "needs never-verified"}


def test_a_program_that_breaks_is_no_failed_statement(checklist: Checklist) -> None:
    def probe() -> NoReturn:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        checklist.verify("colour", "it is so", probe, expected="", remedy="")


def test_the_seconds_of_a_finding_are_those_that_its_probe_took(
    checklist: Checklist, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([10.0, 12.3456])
    monkeypatch.setattr("checks.result.time.monotonic", lambda: next(clock))
    holds(checklist, "colour")
    monkeypatch.undo()
    assert findings(checklist.to_json())["colour"]["seconds"] == 2.346


def test_a_skipped_statement_keeps_its_reason_and_says_that_it_is_simulated(
    checklist: Checklist,
) -> None:
    checklist.skip("heat", "it is warm", "needs a GPU", basis="simulated")
    found = findings(checklist.to_json())["heat"]
    assert (found["status"], found["found"], found["simulated"]) == ("skipped", "needs a GPU", True)


def test_a_result_is_json_with_its_module_status_and_findings_in_order(
    checklist: Checklist,
) -> None:
    holds(checklist, "b")
    holds(checklist, "a")
    result = json.loads(json.dumps(checklist.to_json()))
    assert (result["module"], result["status"], list(findings(result))) == (
        "3",
        "passed",
        ["b", "a"],
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["passed", "passed"], "passed"),
        (["passed", "warning"], "passed"),
        (["passed", "skipped"], "passed"),
        (["warning", "skipped"], "passed"),
        (["skipped", "skipped"], "skipped"),
        (["passed", "failed", "skipped"], "failed"),
        (["failed", "skipped", "skipped"], "failed"),
    ],
)
def test_the_verdict_over_several_statuses(found: list[str], expected: str) -> None:
    assert verdict(found) == expected


def test_a_check_that_was_not_run_says_why() -> None:
    assert skipped("3", "needs module 2") == {
        "module": "3",
        "status": "skipped",
        "reason": "needs module 2",
        "checks": [],
    }


def test_what_was_found_may_know_its_own_remedy_and_be_good_enough(checklist: Checklist) -> None:
    def probe() -> NoReturn:
        raise CheckFailed("pink", remedy="wash it", warning=True)

    assert not checklist.verify("colour", "it is so", probe, expected="blue", remedy="paint it")
    found = findings(checklist.to_json())["colour"]
    assert (found["status"], found["found"], found["remedy"]) == ("warning", "pink", "wash it")


def test_what_cannot_be_told_is_skipped_with_the_reason(checklist: Checklist) -> None:
    def probe() -> NoReturn:
        raise CheckSkipped("it is dark")

    assert not checklist.verify("colour", "it is so", probe, expected="blue", remedy="paint it")
    assert not holds(checklist, "shade", "colour")
    assert statuses(checklist.to_json()) == {"colour": "it is dark", "shade": "needs colour"}
