"""The end of an update: results are kept whatever happened, and what failed is explained."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from checks import verdict
from checks.result import CheckFailed
from results import broken_off, store
from results.status import skipped
from toolchain.layout import ROOT

FAILED_TEXT = """\
module 3, hand-over: pod-2 runs: failed
  expected: Running
  found:    Pending
  remedy:   look at it"""


def result(module: str, status: str) -> dict[str, Any]:
    finding = {
        "id": "hand-over",
        "title": "pod-2 runs",
        "status": status,
        "basis": "simulated",
        "simulated": True,
        "expected": "Running",
        "found": "Pending",
        "seconds": 1.0,
        "remedy": "look at it",
    }
    overall = "passed" if status == "warning" else status
    return {"module": module, "status": overall, "checks": [finding]}


PASSED, FAILED = result("3", "passed"), result("3", "failed")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the results of the stack go."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".results" / "lab"


def weigh(*results: dict[str, Any], strict: bool = True) -> str:
    return verdict.weigh(
        {
            "stack": "lab",
            "strict": strict,
            "basis": {"real": 0, "mocked": 0, "simulated": 1},
            "simulated": "all",
            "verification": {result["module"]: result for result in results},
        }
    )


def latest(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "latest" / "results.json").read_text())
    return content


def test_what_passed_is_kept_with_its_status(folder: Path) -> None:
    assert weigh(PASSED) == "passed"
    kept = latest(folder)
    assert kept["runId"] == (folder / "latest").readlink().name
    assert kept["counts"] == {"passed": 1, "warning": 0, "failed": 0, "skipped": 0}
    told = ("stack", "strict", "simulated", "status", "verification")
    assert {key: kept[key] for key in told} == {
        "stack": "lab",
        "strict": True,
        "simulated": "all",
        "status": "passed",
        "verification": {"3": PASSED},
    }


def test_a_strict_stack_fails_with_what_failed_and_still_keeps_the_results(folder: Path) -> None:
    with pytest.raises(CheckFailed) as caught:
        weigh(result("2", "passed"), FAILED)
    assert str(caught.value) == FAILED_TEXT
    assert latest(folder)["status"] == "failed"
    assert latest(folder)["verification"]["3"] == FAILED


def test_a_stack_that_is_not_strict_goes_on_with_status_failed(folder: Path) -> None:
    assert weigh(FAILED, strict=False) == "failed"
    assert latest(folder)["status"] == "failed"


def test_every_failed_module_is_explained_in_order() -> None:
    with pytest.raises(CheckFailed) as caught:
        weigh(FAILED, result("1", "failed"), skipped("4", "needs module 3"))
    assert str(caught.value).split("\nmodule ") == [
        FAILED_TEXT.replace("module 3", "module 1"),
        FAILED_TEXT.removeprefix("module "),
        "4: skipped, needs module 3",
    ]


@pytest.mark.parametrize(
    ("other", "status"),
    [(result("4", "warning"), "passed"), (skipped("4", "needs module 3"), "passed")],
)
def test_warnings_and_skipped_modules_fail_no_stack(other: dict[str, Any], status: str) -> None:
    assert weigh(PASSED, other) == status


def test_a_stack_whose_modules_were_all_skipped_is_skipped() -> None:
    assert weigh(skipped("3", "needs module 2"), skipped("4", "needs module 3")) == "skipped"


def test_a_second_update_becomes_the_latest_and_keeps_the_first(folder: Path) -> None:
    weigh(PASSED)
    weigh(FAILED, strict=False)
    kept = sorted(path for path in folder.iterdir() if not path.is_symlink())
    statuses = [json.loads((path / "results.json").read_text())["status"] for path in kept]
    assert statuses == ["passed", "failed"], "the names sort by time"
    assert (folder / "latest").readlink() == Path(kept[-1].name), "it can be moved elsewhere"
    assert len(list(folder.iterdir())) == 3, "nothing else is left lying about"


def test_a_link_that_a_killed_update_left_is_no_obstacle(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / ".latest.new").symlink_to("gone")
    weigh(PASSED)
    assert latest(folder)["status"] == "passed"


def test_what_is_required_must_have_passed() -> None:
    assert verdict.require([PASSED]) == "passed"
    assert verdict.require([result("0", "warning"), PASSED]) == "passed"
    with pytest.raises(CheckFailed) as caught:
        verdict.require([PASSED, FAILED])
    assert str(caught.value) == FAILED_TEXT


def test_what_is_required_but_was_skipped_says_why() -> None:
    with pytest.raises(CheckFailed, match=r"^module 3: skipped, needs module 2$"):
        verdict.require([skipped("3", "needs module 2")])


def record(folder: Path, name: str, content: dict[str, Any] | None, age: float = 0) -> None:
    path = folder / "checks" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"result": content}))
    os.utime(path, (time.time() - age, time.time() - age))


def test_an_update_that_breaks_off_leaves_what_it_found_and_nothing_older(folder: Path) -> None:
    weigh(PASSED)
    record(folder, "exclusive", PASSED, age=100)
    record(folder, "cluster", result("1", "passed"))
    record(folder, "kind-nodes", result("1", "failed"))
    record(folder, "driver", None)
    broken_off.keep("lab", time.time() - 10, "cluster: no room")
    found = latest(folder)
    assert (found["status"], found["reason"]) == ("failed", "cluster: no room")
    assert 10 <= found["seconds"] < 60, "since the update began"
    assert list(found["verification"]) == ["1"]
    assert found["verification"]["1"]["status"] == "failed", "of two programs"


@pytest.mark.parametrize("text", ["", "config: ["])
def test_a_damaged_file_of_the_stack_hides_no_results(folder: Path, text: str) -> None:
    shutil.copy(ROOT / "Pulumi.yaml", ".")
    Path("Pulumi.lab.yaml").write_text(text)
    broken_off.keep("lab", time.time(), "pulumi cannot read Pulumi.lab.yaml")
    assert latest(folder)["reason"] == "pulumi cannot read Pulumi.lab.yaml"
    assert "configuration" not in latest(folder)


def test_a_removed_lab_says_so_beside_what_was_found_before(folder: Path) -> None:
    weigh(PASSED)
    store.removed("lab")
    assert latest(folder)["status"] == "removed"
    assert latest(folder)["verification"] == {"3": PASSED}
    store.removed("lab", {"status": "passed"})
    assert latest(folder)["removal"] == {"status": "passed"}
    assert json.loads((folder / "removal.json").read_text()) == {"status": "passed"}
    assert len(list(folder.glob("2*"))) == 2, "one of the update, one of the removal"


def test_a_removal_that_left_something_is_no_removal(folder: Path) -> None:
    store.removed("lab", {"status": "failed"})
    found = latest(folder)
    assert (found["status"], found["reason"]) == ("failed", "something of the lab is left")


def test_a_lab_that_never_came_up_can_be_removed(folder: Path) -> None:
    store.removed("lab")
    assert latest(folder)["status"] == "removed"
