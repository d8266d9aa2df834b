"""`python -m checks NAME`: JSON in, JSON or one clear message out, and the right exit code."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from checks import __main__ as program
from checks.modules import driver, exclusive
from checks.pod_scenario import PodCheck, PodScenario
from checks.prerequisites import kind
from components.runs import run_id
from components.simulated_gpus import gpu_uuid
from machine.programs import CHECKS
from tests.unit.fake_kube import (
    KUBECONFIG,
    NAMESPACE,
    UNREACHABLE,
    UNREACHABLE_TEXT,
    FakeKube,
    gpu_slice,
    node,
)

ROOT = Path(__file__).parents[3]
Invoke = Callable[..., int]
GIVEN_LIFE = "1"
DIGEST = "abc"
PARAMETERS = {"kubeconfig": KUBECONFIG, "namespace": NAMESPACE, "uuid": "GPU-1"} | {
    "devices": "gpu"
}
GIVEN = {
    "stack": "lab",
    "module": "3",
    "run": "20270101T000000Z",
    "start_id": GIVEN_LIFE,
    "digest": DIGEST,
    "needs": {"2": "passed"},
    "parameters": PARAMETERS,
}


def result(status: str) -> dict[str, Any]:
    finding = {
        "id": "colour",
        "title": "it is blue",
        "status": status,
        "basis": "real",
        "expected": "blue",
        "found": "red",
        "seconds": 0.1,
        "remedy": "paint it",
    }
    return {"module": "3", "status": status, "checks": [finding]}


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs the program in an empty folder with arguments and, as JSON on stdin, its input."""
    monkeypatch.chdir(tmp_path)
    for name in ("DRA_WORKSHOP_VERIFY", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str, given: Any = None) -> int:
        monkeypatch.setattr("sys.argv", ["checks", *arguments])
        monkeypatch.setattr("sys.stdin", io.StringIO("" if given is None else json.dumps(given)))
        return program.main()

    return call


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The check "exclusive" is one that fails; what it was run with."""
    calls: list[tuple[str, Any]] = []

    def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
        calls.append((module, parameters))
        return result("failed")

    monkeypatch.setitem(program.PROGRAMS, "exclusive", run)
    return calls


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """For which parameters the pods of a check were released."""
    calls: list[Any] = []
    monkeypatch.setattr(PodScenario, "release_pods", lambda self: calls.append(self.parameters))
    return calls


def test_a_check_prints_its_verdict_and_ends_well_even_if_it_failed(
    invoke: Invoke, ran: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke("exclusive", given=GIVEN) == 0
    assert json.loads(capsys.readouterr().out) == result("failed")
    assert ran == [("3", PARAMETERS)]


def test_the_input_can_be_a_file(
    invoke: Invoke, ran: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("given.json").write_text(json.dumps(GIVEN))
    assert invoke("exclusive", "--input", "given.json") == 0
    assert json.loads(capsys.readouterr().out) == result("failed")


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_a_check_whose_needs_did_not_pass_is_skipped_and_leaves_no_record(
    invoke: Invoke, capsys: pytest.CaptureFixture[str], status: str
) -> None:
    assert invoke("driver", given=GIVEN | {"needs": {"1": "passed", "2": status}}) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["status"], said["reason"]) == ("skipped", "needs module 2")
    assert not Path(".results").exists()


def test_a_skipped_check_lets_its_pods_go_and_so_needs_fresh_ones(
    invoke: Invoke, ran: list[Any], released: list[Any]
) -> None:
    assert invoke("exclusive", given=GIVEN | {"run": DIGEST, "needs": {"2": "failed"}}) == 0
    assert ran == []
    assert released == [GIVEN["parameters"]]
    assert run_id("lab", "exclusive", GIVEN_LIFE, DIGEST) != DIGEST


@pytest.mark.parametrize("broken", [RuntimeError("a bug"), KeyboardInterrupt()])
def test_a_check_that_breaks_off_lets_its_pods_go_and_gets_a_new_run(
    invoke: Invoke, released: list[Any], monkeypatch: pytest.MonkeyPatch, broken: BaseException
) -> None:
    def probe(*_: Any) -> NoReturn:
        raise broken

    monkeypatch.setattr(PodScenario, "running", probe)
    with pytest.raises(type(broken)):
        invoke("exclusive", given=GIVEN)
    assert released == [GIVEN["parameters"]]
    assert run_id("lab", "exclusive", GIVEN_LIFE, DIGEST) not in (DIGEST, GIVEN["run"])


def test_every_check_with_pods_can_release_them() -> None:
    modules = [import_module(module) for module in CHECKS.values()]
    with_pods = [module for module in modules if hasattr(module, "PodCheck")]
    assert exclusive in with_pods
    for module in with_pods:
        assert isinstance(module.CHECK, PodCheck)
        assert module.run == module.CHECK.run


def test_the_result_of_a_check_decides_whether_the_next_update_runs_it_again(
    invoke: Invoke, ran: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_id("lab", "exclusive", GIVEN_LIFE, DIGEST) == DIGEST
    invoke("exclusive", given=GIVEN)
    assert run_id("lab", "exclusive", GIVEN_LIFE, DIGEST) != GIVEN["run"]
    monkeypatch.setitem(program.PROGRAMS, "exclusive", lambda *_: result("passed"))
    invoke("exclusive", given=GIVEN)
    assert run_id("lab", "exclusive", GIVEN_LIFE, DIGEST) == GIVEN["run"]
    assert run_id("lab", "exclusive", "2", DIGEST) not in (DIGEST, GIVEN["run"])


def test_variants_of_a_module_leave_a_result_each(
    invoke: Invoke, ran: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("exclusive", given=GIVEN | {"variant": "daemonset"})
    monkeypatch.setitem(program.PROGRAMS, "exclusive", lambda *_: result("passed"))
    invoke("exclusive", given=GIVEN)
    records = {
        name: json.loads(Path(f".results/lab/checks/{name}.json").read_text())["result"]["status"]
        for name in ("exclusive", "exclusive-daemonset")
    }
    assert records == {"exclusive": "passed", "exclusive-daemonset": "failed"}
    assert run_id("lab", "exclusive-daemonset", GIVEN_LIFE, DIGEST) != GIVEN["run"]


def test_a_requirement_that_passed_says_so(
    invoke: Invoke, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke("require", given={"results": [result("passed")]}) == 0
    assert capsys.readouterr().out == "passed\n"


def test_a_requirement_that_failed_ends_the_update_with_a_message(
    invoke: Invoke, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke("require", given={"stack": "lab", "results": [result("failed")]}) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("module 3, colour: it is blue: failed\n")
    assert "remedy:   paint it\n" in said.err


def test_a_gate_that_ends_an_update_leaves_its_result(
    invoke: Invoke, ran: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where Pulumi is run without make."""
    engine = SimpleNamespace(name=lambda: "pulumi", create_time=lambda: time.time() - 5)
    monkeypatch.setattr("psutil.Process", lambda: SimpleNamespace(parents=lambda: [engine]))
    invoke("exclusive", given=GIVEN)
    assert invoke("require", given={"stack": "lab", "results": [result("failed")]}) == 1
    kept = json.loads(Path(".results/lab/latest/results.json").read_text())
    assert kept["status"] == "failed"
    assert kept["reason"] == "require: module 3, colour: it is blue: failed"
    assert kept["verification"] == {"3": result("failed")}


@pytest.mark.parametrize(("strict", "code"), [(True, 1), (False, 0)])
def test_a_failed_verdict_ends_the_update_only_when_strict(
    invoke: Invoke, capsys: pytest.CaptureFixture[str], strict: bool, code: int
) -> None:
    given = {"stack": "lab", "strict": strict, "verification": {"3": result("failed")}}
    assert invoke("verdict", given=given) == code
    said = capsys.readouterr()
    assert said.out == ("" if strict else "failed\n")
    assert ("it is blue: failed" in said.err) is strict
    assert Path(".results/lab/latest/results.json").exists()


def test_a_gate_that_stays_shut_ends_the_update_with_a_message(
    invoke: Invoke, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = FakeKube().stand_in(monkeypatch, driver)
    given = {"kubeconfig": KUBECONFIG, "nodes": ["gpu-node-0"], "gpusPerNode": 1, "seconds": 5}
    given |= {"stack": "lab", "clusterOwned": True}
    assert invoke("gate-devices", given=given) == 1
    assert capsys.readouterr().err == "after 5 s not ready: gpu-node-0\n"
    kube.refusals["*"] = UNREACHABLE
    assert invoke("gate-devices", given=given) == 1
    assert capsys.readouterr().err == f"{UNREACHABLE_TEXT}\n"


def test_a_gate_that_opens_tells_the_first_gpu(
    invoke: Invoke, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = ["gpu-node-0", "gpu-node-1"]
    published = [gpu_slice(name, gpus=2) for name in reversed(nodes)]
    FakeKube(nodes=[node(name) for name in nodes], slices=published).stand_in(monkeypatch, driver)
    given = {"kubeconfig": KUBECONFIG, "nodes": nodes, "gpusPerNode": 2, "seconds": 5}
    given |= {"driver": "gpu.nvidia.com", "clusterOwned": True, "gpu": ""}
    assert invoke("gate-devices", given=given) == 0
    first = {"uuid": gpu_uuid("gpu-node-0", 0), "node": "gpu-node-0"}
    assert json.loads(capsys.readouterr().out) == first


def test_a_gate_that_opens_says_passed(invoke: Invoke, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke("require", given={"results": []}) == 0
    assert capsys.readouterr().out == "passed\n"


@pytest.mark.parametrize("name", ["exclusive", "cluster", "driver", "verdict", "require"])
def test_a_program_without_input_says_how_it_is_used(
    invoke: Invoke, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        invoke(name)
    assert caught.value.code == 2
    assert "takes its input as JSON on stdin or from --input" in capsys.readouterr().err


def test_a_program_that_does_not_exist_gets_the_list_of_those_that_do(
    invoke: Invoke, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        invoke("exclusiv")
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert all(name in said for name in (*program.PROGRAMS, *program.STOPPERS))


@pytest.mark.parametrize(("status", "code"), [("passed", 0), ("failed", 1)])
def test_prerequisites_alone_print_a_table_and_end_with_the_verdict(
    invoke: Invoke,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    code: int,
) -> None:
    monkeypatch.setattr("checks.prerequisites.embedded.run", lambda *_: result(status))
    assert invoke("prerequisites") == code
    header, row = capsys.readouterr().out.splitlines()[:2]
    assert header.split() == ["module", "check", "status", "basis", "found", "seconds"]
    assert row.split() == ["0", "colour", status, "real", "red", "0.1"]


def test_prerequisites_alone_print_json_when_asked(
    invoke: Invoke, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checks.prerequisites.embedded.run", lambda *_: result("passed"))
    assert invoke("prerequisites", "--json") == 0
    assert json.loads(capsys.readouterr().out) == result("passed")
    assert not Path(".results").exists(), "it belongs to no stack"


def test_prerequisites_alone_for_a_workstation_take_what_is_asked(
    invoke: Invoke, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def run(_: str, parameters: dict[str, Any]) -> dict[str, Any]:
        asked.append(parameters)
        return result("failed")

    monkeypatch.setattr("checks.prerequisites.kind.run", run)
    assert invoke("prerequisites", "--cluster", "kind") == 1
    assert invoke("prerequisites", "--cluster", "kind", "--driver", "example", "--workers", "0",
                  "--gpus", "0,GPU-1", "--strategy", "cdi", "--stack", "lab",
                  "--node-image", "node:1") == 1  # fmt: skip
    assert asked[0] == kind.defaults()
    assert asked[1] == kind.defaults() | {
        "driver": "example",
        "driverChart": "",
        "workers": 0,
        "gpus": ["0", "GPU-1"],
        "strategy": "cdi",
        "stack": "lab",
        "nodeImage": "node:1",
    }


def test_prerequisites_alone_for_a_host_node_are_both_lists(
    invoke: Invoke, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checks.prerequisites.embedded.run", lambda *_: result("passed"))
    monkeypatch.setattr("checks.prerequisites.host_node.run", lambda *_: result("failed"))
    assert invoke("prerequisites", "--cluster", "host", "--json") == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["status"], len(said["checks"])) == ("failed", 2)


def test_prerequisites_alone_for_an_existing_cluster_make_nothing_here(
    invoke: Invoke, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke("prerequisites", "--cluster", "existing", "--json") == 1
    said = json.loads(capsys.readouterr().out)
    ids = [finding["id"] for finding in said["checks"]]
    assert ids == ["platform", "checkout-path", "driver-chart", "disk"]


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--cluster", "minikube", "embedded"),
        ("--driver", "amd", "nvidia"),
        ("--strategy", "nvkind", "toolkit"),
        ("--workers", "17", "from 0 to 16"),
        ("--workers", "-1", ""),
        ("--workers", "two", "from 0 to 16"),
    ],
)
def test_options_that_cannot_be_used_say_what_is_allowed(
    invoke: Invoke, capsys: pytest.CaptureFixture[str], option: str, value: str, allowed: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        invoke("prerequisites", option, value)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert option in said
    assert allowed in said


def test_a_failed_requirement_shows_no_traceback_to_whoever_runs_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "checks", "require"],
        input=json.dumps({"stack": "lab", "results": [result("failed")]}),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 1
    assert "it is blue: failed" in done.stderr
    assert "Traceback" not in done.stderr
