"""Every file of results keeps to the format that is published."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from checks import verdict
from machine.configuration import read_configuration
from results import broken_off, store
from results.status import skipped
from toolchain.layout import ROOT

SCHEMA = json.loads(Path("docs/results.schema.json").read_text())
STACK = "module5"
KEYS = set(read_configuration(STACK))
PLACED = {"kwok": "0f", "pulumi": "3d", "etcd": "on PATH: 5e", "no-longer-known": "1"}


def finding(status: str) -> dict[str, Any]:
    texts = {"id": "a", "title": "b", "expected": "c", "found": "d", "remedy": ""}
    return texts | {"status": status, "basis": "simulated", "simulated": True, "seconds": 0.5}


def result(module: str, *statuses: str) -> dict[str, Any]:
    status = "failed" if "failed" in statuses else "passed"
    return {"module": module, "status": status, "checks": [finding(each) for each in statuses]}


@cache
def told_by_the_graph() -> str:
    """In a process of its own: Pulumi keeps the event loop of the first graph of a process."""
    program = (
        "from tests.unit.graph import build; "
        f"print(build('{STACK}', nodes='2').resources['Command/verdict'].inputs['stdin'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, capture_output=True, text=True, errors="replace", check=True,
    )  # fmt: skip
    return done.stdout


@pytest.fixture
def given() -> dict[str, Any]:
    """What the graph tells the verdict of a lab, with results such as real checks have."""
    stdin = told_by_the_graph()
    tables = {"rate": {"skipped": "needs a GPU"}}
    told: dict[str, Any] = json.loads(stdin)
    return told | {"verification": {"3": result("3", "passed")}, "benchmarks": {"5": tables}}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(broken_off, "TOOLS", tmp_path)
    (tmp_path / "placed.json").write_text(json.dumps(PLACED))
    return tmp_path


def latest() -> dict[str, Any]:
    """The newest results, which keep to the format."""
    path = store.RESULTS / STACK / "latest" / "results.json"
    kept: dict[str, Any] = json.loads(path.read_text())
    Draft202012Validator(SCHEMA).validate(kept)
    return kept


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_an_update_says_what_it_was_told_and_with_which_versions(given: dict[str, Any]) -> None:
    verdict.weigh(given)
    kept = latest()
    assert kept["status"] == "passed"
    assert kept["configuration"]["nodes"] == 2
    assert kept["configuration"]["strict"] is True
    assert kept["configuration"]["mpsPercentages"] == ["100", "50", "20", "10", "1"]
    assert set(kept["configuration"]) == KEYS
    versions = kept["versions"]
    assert (versions["kubernetes"], versions["draDriver"]) == ("1.37.2", "0.5.0")
    assert sorted(versions["tools"]) == ["etcd", "kwok", "pulumi"]
    assert versions["tools"]["etcd"] == "on PATH"
    assert versions["tools"]["kwok"][0].isdigit()


def test_it_says_when_the_update_began(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = SimpleNamespace(name=lambda: "pulumi", create_time=lambda: time.time() - 90)
    monkeypatch.setattr("psutil.Process", lambda: SimpleNamespace(parents=lambda: [engine]))
    verdict.weigh(given)
    kept = latest()
    assert 90 <= kept["seconds"] < 120
    age = datetime.now(UTC) - datetime.fromisoformat(kept["started"])
    assert 89 <= age.total_seconds() < 120


def test_it_counts_the_checks_of_all_modules(given: dict[str, Any]) -> None:
    found = {
        "0": result("0", "passed", "warning"),
        "1": result("1", "failed", "skipped", "passed"),
        "2": skipped("2", "needs module 1"),
    }
    verdict.weigh(given | {"verification": found, "strict": False})
    assert latest()["counts"] == {"passed": 2, "warning": 1, "failed": 1, "skipped": 1}


def test_modules_that_were_all_skipped(given: dict[str, Any]) -> None:
    verdict.weigh(given | {"verification": {"3": skipped("3", "needs module 2")}})
    assert latest()["status"] == "skipped"


def test_a_shortened_table_says_where_the_whole_is(given: dict[str, Any]) -> None:
    place = store.RESULTS / STACK / "raw"
    table = {"unit": "s", "rows": [{"pod": "a", "seconds": 1.5, "error": None}], "row_count": 20}
    whole = {"path": str(place), "sha256": "0" * 64}
    verdict.weigh(given | {"benchmarks": {"5": {"pod-start": table | {"raw": [whole]}}}})
    assert latest()["benchmarks"]["5"]["pod-start"]["raw"] == [whole]


def test_an_update_that_did_not_complete() -> None:
    record = store.RESULTS / STACK / "checks" / "cluster.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"result": result("1", "failed")}))
    broken_off.keep(STACK, time.time() - 5, "cluster: no room")
    assert latest()["counts"]["failed"] == 1


def test_an_update_that_did_not_complete_says_what_it_was_told_and_with_which_versions(
    given: dict[str, Any], folder: Path
) -> None:
    shutil.copy(ROOT / "Pulumi.yaml", folder)
    stack = yaml.safe_load((ROOT / f"Pulumi.{STACK}.yaml").read_text())
    stack["config"]["dra-workshop:nodes"] = "2"
    (folder / f"Pulumi.{STACK}.yaml").write_text(yaml.safe_dump(stack))
    run = folder / ".run" / STACK / "cluster.json"
    run.parent.mkdir(parents=True)
    run.write_text(json.dumps({"specification": {"kubernetes_version": "1.37.2"}}))
    verdict.weigh(given)
    complete = latest()
    broken_off.keep(STACK, time.time(), "cluster: no room")
    kept = latest()
    undecided = {"installDriver": "", "webhook": ""}  # by default the graph decides
    assert kept["configuration"] == complete["configuration"] | undecided
    assert kept["versions"] == complete["versions"] | {"draDriver": "", "gpuDriver": ""}


@pytest.mark.parametrize("left", ["passed", "failed"])
def test_a_removal(given: dict[str, Any], left: str) -> None:
    verdict.weigh(given)
    updated = latest()
    store.removed(STACK)
    began = latest()
    assert began["runId"] != updated["runId"]
    store.removed(STACK, result("0", left))
    kept = latest()
    assert kept["status"] == ("removed" if left == "passed" else "failed")
    assert (kept["runId"], kept["started"]) == (began["runId"], began["started"])
    assert kept["configuration"] == updated["configuration"]


def test_the_removal_of_a_lab_that_never_came_up() -> None:
    store.removed(STACK, result("0", "passed"))
    assert latest()["verification"] == {}


def test_the_removal_of_a_lab_of_an_earlier_version() -> None:
    path = store.RESULTS / STACK / "latest" / "results.json"
    path.parent.mkdir(parents=True)
    path.write_text(
        json.dumps({"stack": STACK, "status": "passed", "verification": {"0": result("0")}})
    )
    path.parent.rename(path.parent.with_name("20260101T000000.000000Z"))
    (store.RESULTS / STACK / "latest").symlink_to("20260101T000000.000000Z")
    store.removed(STACK)
    assert latest()["status"] == "removed"


@pytest.mark.parametrize("key", ["schemaVersion", "counts", "configuration", "versions"])
def test_what_lacks_a_key_is_refused(given: dict[str, Any], key: str) -> None:
    verdict.weigh(given)
    lacking = {name: value for name, value in latest().items() if name != key}
    with pytest.raises(ValidationError, match=key):
        Draft202012Validator(SCHEMA).validate(lacking)
