"""No Command prints more than Pulumi can hand on, however large the cluster or the sweep is."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from checks import __main__ as checks_program
from checks.modules import mps_percentage
from checks.modules.mps_percentage import Percentages
from checks.prerequisites import existing_gpus
from checks.prerequisites.cluster_look import Look
from checks.result import Checklist
from kube.devices import published
from machine import kind_gpus
from operations import __main__ as operations_program
from operations.existing import cluster as existing
from operations.kind import cluster as kind
from results import output
from results.status import joined
from tests import mocks
from tests.unit.benchmark_said import told
from tests.unit.checks.modules.test_mps_percentage import PARAMETERS
from tests.unit.fake_kube import FakeKube, gpu_slice, node

STACK = "module3"
TARGET = "GPU-00000000-0000-0000-0000-000000000000"
GIVEN = {
    "stack": STACK,
    "driver": "gpu.nvidia.com",
    "chart": "dra-driver-nvidia-gpu",
    "plugin": "dra-driver-nvidia-gpu-kubelet-plugin",
    "install": False,
    "usesDriver": True,
    "target": TARGET,
    "workloadImage": "registry.test/python:3",
}
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def whole(place: dict[str, str]) -> Any:
    """What was kept there, which is what was meant."""
    content = Path(place["path"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == place["sha256"]
    return json.loads(content)


# --- many nodes ----------------------------------------------------------------------------------


def gpu_nodes(count: int) -> FakeKube:
    """A cluster whose nodes have two GPUs each, all offered by a device plugin too."""
    names = [f"ip-10-0-{index // 256}-{index % 256}.eu-central-1.compute" for index in range(count)]
    nodes = [node(name) for name in names]
    for each in nodes:
        each.status.capacity = {"cpu": "64", "nvidia.com/gpu": "1k"}
    return FakeKube(nodes=nodes, slices=[gpu_slice(name, gpus=2) for name in names])


def looked_at(count: int) -> dict[str, Any]:
    """What module 0 finds out about the owners of GPUs, all of which claims have."""
    kube = gpu_nodes(count)
    with ExitStack() as held:
        look = Look(GIVEN, held)
        found = published(kube.slices, "gpu.nvidia.com")
        names = {each.metadata.name: each for each in kube.nodes}
        vars(look).update(kube=kube, nodes=names, published=found, drivers=[], namespaces={})
        checklist = Checklist("0")
        for needed in ("dra-served", "credentials-accepted"):
            checklist.verify(needed, "", lambda: "", expected="", remedy="")
        existing_gpus.add(checklist, look)
    return checklist.to_json()


def printed(monkeypatch: pytest.MonkeyPatch, capsys: Capture, count: int) -> str:
    """The output of module 0's program."""
    monkeypatch.setitem(checks_program.PROGRAMS, "existing", lambda *_: looked_at(count))
    given = dict.fromkeys(("run", "start_id", "digest"), "1") | {"stack": STACK, "module": "0"}
    given_json = json.dumps(given | {"needs": {}, "parameters": {}})
    monkeypatch.setattr("sys.argv", ["checks", "existing"])
    monkeypatch.setattr("sys.stdin", io.StringIO(given_json))
    assert checks_program.main() == 0
    return capsys.readouterr().out


def test_what_module_0_prints_does_not_grow_with_the_nodes(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    few, many = (printed(monkeypatch, capsys, count) for count in (200, 2_000))
    assert len(many) < len(few) + 100
    result = json.loads(many)
    found = {each["id"]: each["found"] for each in result["checks"]}
    assert found["gpu-nodes"].startswith(
        "2000 with 4000 devices of the driver, 2000000 nvidia.com/gpu: ip-10-0-0-0.eu-central-1"
    )
    (place,) = result["raw"]
    assert found["gpu-nodes"].endswith(f" characters in all, in {place['path']})")
    assert "ip-10-0-7-207" in {e["id"]: e["found"] for e in whole(place)["checks"]}["gpu-nodes"]


def test_nor_what_attach_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(existing, "_cluster_id", lambda _: "uid")
    monkeypatch.setattr("kubernetes.client.VersionApi", lambda api: api)
    config = {"clusters": [{"cluster": {"server": "https://c"}}]}
    wanted = existing.Specification(
        STACK, "", "prod", "gpu.nvidia.com", "chart", "plugin", True, "", ["v1 Namespace x"]
    )
    kube: Any = gpu_nodes(2_000)
    facts = existing._facts(wanted, config, kube)
    assert facts.keys() == mocks.existing(asdict(wanted)).keys()
    assert len(json.dumps(facts)) < 2_000
    nodes = facts["nodes"]
    assert (nodes["count"], nodes["published"]) == (2_000, 4_000)
    assert nodes["devicePlugin"] == {"nvidia.com/gpu": 2_000_000}
    assert len(whole(nodes["raw"])) == 2_000


# --- many cells ----------------------------------------------------------------------------------


def sweep(percentages: int, pods: int) -> dict[str, Any]:
    """The result of module 5's check, with a table of all that it measured."""
    one = told("MPS 20 %")
    names = [f"share-{number}" for number in range(pods)]
    rows = [{"pod": name, "seconds": 3.2, "prepare_retries": 0} for name in names]
    kube: Any = None
    scenario = Percentages(kube, PARAMETERS | {"pods": names})
    scenario.sweep = dict.fromkeys(range(100, 100 - percentages, -1), one)
    scenario.outputs = dict.fromkeys(names, one)
    scenario.started = {"unit": "s", "rows": rows}
    checklist = Checklist("5")
    text = ", ".join(f"{name}: 26 SMs" for name in names)
    for statement in ("share-measured", "share-fair", "share-steady"):
        checklist.verify(statement, "", lambda: text, expected=text, remedy="")
    tables = mps_percentage.CHECK.benchmarks
    checklist.benchmarks = {table: read(scenario) for table, read in tables.items()}
    return checklist.to_json()


def test_a_full_sweep_is_printed_as_a_summary_and_kept_whole(capsys: Capture) -> None:
    result = sweep(100, 48)
    short = output.shortened(STACK, "mps-percentage", result)
    output.write(short)
    assert len(capsys.readouterr().out) < output.LIMIT * 0.6
    (place,) = short["raw"]
    assert whole(place) == json.loads(json.dumps(result))
    for name, count in (("mps-thread-percentage", 148), ("pod-start", 48)):
        table, all_ = short["benchmarks"][name], result["benchmarks"][name]
        assert (table["row_count"], table["raw"]) == (count, [place])
        assert len(table["rows"]) == output.MOST_ROWS
        for end in (0, -1):
            assert table["rows"][end].items() <= all_["rows"][end].items()


def test_an_ordinary_sweep_keeps_all_rows_and_only_lacks_the_single_values() -> None:
    result = sweep(5, 3)
    table = output.shortened(STACK, "mps-percentage", result)["benchmarks"]["mps-thread-percentage"]
    all_ = result["benchmarks"]["mps-thread-percentage"]["rows"]
    assert [
        row | {"values": full["values"]} for row, full in zip(table["rows"], all_, strict=True)
    ] == all_


def test_a_result_that_is_short_is_left_as_it_is(folder: Path) -> None:
    result = {"module": "3", "status": "passed", "checks": [], "benchmarks": {"a": {"skipped": ""}}}
    assert output.shortened(STACK, "exclusive", result) is result
    assert list(folder.iterdir()) == []


def test_tables_of_two_programs_name_the_files_of_both() -> None:
    one = {"unit": "s", "rows": [{"pod": "a"}], "row_count": 20, "raw": [{"path": "a"}]}
    two = {"unit": "s", "rows": [{"pod": "b"}]}
    both = joined(one, two)
    assert [row["pod"] for row in both["rows"]] == ["a", "b"]
    assert (both["row_count"], both["raw"]) == (21, [{"path": "a"}])


# --- many workers --------------------------------------------------------------------------------

MOUNT = {"host": "/usr/lib/x86_64-linux-gnu/libnvidia-x.so.580", "container": "/usr/lib/x.so"}
WORKERS = [{"gpus": [TARGET], "mounts": [MOUNT] * 60, "notes": []} for _ in range(16)]
TOLD = {"workers": WORKERS, "uuids": [TARGET] * 16, "facts": {"kind": "container"}}


def test_what_workers_need_is_not_printed_but_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(kind_gpus, "describe", lambda *_: TOLD)
    made: list[kind.Specification] = []

    def create(wanted: kind.Specification) -> dict[str, Any]:
        made.append(wanted)
        return {"kind": "kind", "specification": {"stack": STACK, "workers": wanted.workers}}

    monkeypatch.setattr(kind, "create", create)
    asked = {"mounts": "cdi", "subsets": [], "driver": "580"}
    answer = operate(monkeypatch, capsys, ["gpu-host"], asked)
    assert len(json.dumps(answer)) < output.LIMIT / 4
    wanted = dict.fromkeys(("kubernetes_version", "image"), "") | {"stack": STACK}
    lists: dict[str, Any] = {name: [] for name in ("feature_gates", "runtime_config", "images")}
    host = {"host": asked | {"needs": answer["needs"]}, "workers": answer["workers"]}
    facts = operate(monkeypatch, capsys, ["kind", "create"], wanted | lists | host)
    assert made[0].workers == WORKERS
    assert facts["specification"]["workers"] == [{"gpus": [TARGET]}] * 16


def test_workers_that_need_something_else_have_another_digest() -> None:
    other = TOLD | {"workers": [*WORKERS[1:], WORKERS[0] | {"notes": ["one"]}]}
    assert kind_gpus.summary(TOLD)["needs"] != kind_gpus.summary(other)["needs"]


def operate(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, arguments: list[str], given: dict[str, Any]
) -> Any:
    monkeypatch.setattr("sys.argv", ["operations", *arguments])
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(given)))
    assert operations_program.main() == 0
    return json.loads(capsys.readouterr().out)


# --- the limit -----------------------------------------------------------------------------------


def test_the_limit_is_below_what_linux_takes_as_one_variable() -> None:
    variable = {"PULUMI_COMMAND_STDOUT": "x" * (output.LIMIT * 3)}
    assert subprocess.run(["/bin/true"], env=variable, check=False).returncode == 0


@pytest.mark.parametrize("program", ["checks", "operations"])
def test_a_program_that_would_print_more_fails_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, program: str
) -> None:
    too_much = {"module": "3", "status": "passed", "checks": [], "more": "é" * output.LIMIT}
    if program == "checks":
        monkeypatch.setitem(checks_program.STOPPERS, "verdict", lambda _: json.dumps(too_much))
        arguments, main = ["checks", "verdict"], checks_program.main
    else:
        monkeypatch.setattr(kind_gpus, "describe", lambda *_: TOLD)
        monkeypatch.setattr(kind_gpus, "summary", lambda _: too_much)
        arguments, main = ["operations", "gpu-host"], operations_program.main
    asked = {"mounts": "cdi", "subsets": [], "driver": "580"}
    monkeypatch.setattr("sys.argv", arguments)
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(asked)))
    assert main() == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "may have 32768; please report this" in said.err


def test_claims_that_hold_a_gpu_are_named_as_far_as_there_is_room() -> None:
    finding = {"id": "target-free", "expected": "", "remedy": "", "title": "", "status": "failed"}
    names = ", ".join(f"team/claim-{number}" for number in range(5_000))
    result = {"module": "0", "status": "failed", "checks": [finding | {"found": names}]}
    short = output.shortened(STACK, "existing", result)
    found = short["checks"][0]["found"]
    assert found.startswith("team/claim-0, team/claim-1, ")
    path = short["raw"][0]["path"]
    assert found.endswith(f", … ({len(names)} characters in all, in {path})")
