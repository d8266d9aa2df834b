"""A check stays in its run as long as it passed; else, and when asked, it gets a new one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

import pytest

from components.runs import run_id, run_of, verdict_run
from machine.programs import VERIFY

RUN = "20270101T000000Z"
START_ID = "1"
DIGEST = "abc"


@pytest.fixture(autouse=True)
def nobody_asks_for_a_new_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VERIFY, raising=False)


def leave(results: Path, content: str, check: str = "exclusive") -> None:
    record = results / "lab" / "checks" / f"{check}.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(content)


def record(status: str) -> str:
    content: dict[str, Any] = {
        "run": RUN,
        "start_id": START_ID,
        "digest": DIGEST,
        "result": {"module": "3", "status": status},
    }
    return json.dumps(content)


def is_new(run: str) -> bool:
    return run not in (DIGEST, RUN)


def test_a_check_that_never_ran_is_in_its_first_run(tmp_path: Path) -> None:
    assert run_id("lab", "exclusive", START_ID, DIGEST, tmp_path) == DIGEST


def test_a_check_that_passed_stays_in_its_run(tmp_path: Path) -> None:
    leave(tmp_path, record("passed"))
    assert run_id("lab", "exclusive", START_ID, DIGEST, tmp_path) == RUN


def test_a_variant_of_a_check_is_in_a_run_of_its_own(tmp_path: Path) -> None:
    variant = run_of("lab", "exclusive", START_ID, variant="daemonset")
    assert variant.name == "exclusive-daemonset"
    assert run_of("lab", "exclusive", START_ID).name == "exclusive"
    leave(tmp_path, record("passed"), variant.name)
    assert run_id("lab", variant.name, START_ID, DIGEST, tmp_path) == RUN
    assert run_id("lab", "exclusive", START_ID, DIGEST, tmp_path) == DIGEST


def test_a_check_that_failed_gets_a_new_run(tmp_path: Path) -> None:
    leave(tmp_path, record("failed"))
    assert is_new(run_id("lab", "exclusive", START_ID, DIGEST, tmp_path))


def test_a_check_whose_program_changed_gets_a_new_run(tmp_path: Path) -> None:
    leave(tmp_path, record("passed"))
    assert run_id("lab", "exclusive", START_ID, "def", tmp_path) == "def"


def test_a_check_that_was_killed_gets_a_new_run(tmp_path: Path) -> None:
    leave(
        tmp_path, json.dumps({"run": RUN, "start_id": START_ID, "digest": DIGEST, "result": None})
    )
    assert is_new(run_id("lab", "exclusive", START_ID, DIGEST, tmp_path))


def test_a_check_whose_cluster_was_started_again_gets_a_new_run(tmp_path: Path) -> None:
    leave(tmp_path, record("passed"))
    assert is_new(run_id("lab", "exclusive", "2", DIGEST, tmp_path))
    assert run_id("lab", "never-ran", "2", DIGEST, tmp_path) == DIGEST


def test_a_record_without_the_life_of_the_cluster_counts_as_failed(tmp_path: Path) -> None:
    leave(tmp_path, json.dumps({"run": RUN, "result": {"module": "3", "status": "passed"}}))
    assert is_new(run_id("lab", "exclusive", START_ID, DIGEST, tmp_path))


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "3", "{}", '{"run": "x"}', '{"digest": "abc", "result": null}'],
)
def test_a_record_that_cannot_be_read_counts_as_failed(tmp_path: Path, content: str) -> None:
    leave(tmp_path, content)
    assert is_new(run_id("lab", "exclusive", START_ID, DIGEST, tmp_path))


def test_a_record_that_is_no_file_counts_as_failed(tmp_path: Path) -> None:
    (tmp_path / "lab" / "checks" / "exclusive.json").mkdir(parents=True)
    assert is_new(run_id("lab", "exclusive", START_ID, DIGEST, tmp_path))


def test_a_record_that_may_not_be_read_counts_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Path) -> NoReturn:
        raise PermissionError

    leave(tmp_path, record("passed"))
    monkeypatch.setattr(Path, "read_text", refused)
    assert is_new(run_id("lab", "exclusive", START_ID, DIGEST, tmp_path))


def test_every_check_gets_a_new_run_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(tmp_path, record("passed"))
    monkeypatch.setenv(VERIFY, "1")
    assert is_new(run_id("lab", "exclusive", START_ID, DIGEST, tmp_path))
    assert is_new(run_id("lab", "never-ran", START_ID, DIGEST, tmp_path))


def test_one_update_gives_the_same_new_run_everywhere(tmp_path: Path) -> None:
    leave(tmp_path, record("failed"))
    leave(tmp_path, record("failed"), "driver")
    pods_run, check_run = (run_id("lab", "exclusive", START_ID, DIGEST, tmp_path) for _ in range(2))
    assert pods_run == check_run == run_id("lab", "driver", START_ID, DIGEST, tmp_path)


def test_stacks_and_checks_have_runs_of_their_own(tmp_path: Path) -> None:
    leave(tmp_path, record("failed"))
    assert run_id("lab", "driver", START_ID, DIGEST, tmp_path) == DIGEST
    assert run_id("other", "exclusive", START_ID, DIGEST, tmp_path) == DIGEST


def test_the_verdict_is_given_again_until_the_last_results_are_those_of_a_lab_that_passed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lab" / "latest" / "results.json"
    assert verdict_run("lab", tmp_path) == ""
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"status": "passed", "run": RUN}))
    assert verdict_run("lab", tmp_path) == RUN
    for content in (json.dumps({"status": "failed", "run": RUN}), '{"status": "removed"}', "{"):
        path.write_text(content)
        assert verdict_run("lab", tmp_path) not in ("", RUN)
