"""What the Makefile does to stacks, with Pulumi replaced."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from machine import host_node as machine_node
from machine import identity
from machine.errors import LabError
from machine.files import write_json
from machine.programs import VERIFY
from operations.embedded import cluster as embedded
from operations.host_node import node as host_node
from operations.stack import drift, stacks, stuck_pods
from operations.stack.engine import EVENTS
from report import results
from results import store
from tests.unit.scripts import calls, write_script
from toolchain import layout

ROOT = Path(__file__).resolve().parents[4]
Capture = pytest.CaptureFixture[str]
Calls = list[tuple[tuple[str, ...], dict[str, object]]]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project in a folder of its own, with a stack "dev" of modules 0 and 1."""
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    (tmp_path / "Pulumi.dev.yaml").write_text('config:\n  dra-workshop:modules: ["0", "1"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(layout, "ROOT", tmp_path)
    (tmp_path / ".state").mkdir()
    return tmp_path


@pytest.fixture
def pulumi(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What Pulumi was called with; it ends with exit code 7."""
    called: Calls = []

    def note(*arguments: str, **options: object) -> int:
        called.append((arguments, options))
        return 7

    monkeypatch.setattr(stacks, "pulumi", note)
    monkeypatch.setattr(stacks, "recover", lambda _: [])
    return called


# --- configuration -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ("nodes", "SET takes key=value pairs; 'nodes' has no '='"),
        ("nodes=2 strict", "'strict' has no '='"),
        ("colour=red", "configuration key 'colour': 'red' is not allowed; there is no such key"),
        ("nodes=many", "configuration key 'nodes': 'many' is not allowed; a whole number"),
        ("nodes=0 gpusPerNode=2", "configuration key 'nodes': '0'"),
        ("gpuProfile=", "configuration key 'gpuProfile': ''"),
        ("modules=0,9", "configuration key 'modules': '9' is not allowed; allowed: 0, 1"),
        ("modules=", "configuration key 'modules': '[]'"),
        ("featureGates=DRAPartitionableDevices", "each is Name=true or Name=false"),
        ('gpuProfile="h200', 'SET cannot be read: No closing quotation: gpuProfile="h200'),
    ],
)
def test_a_bad_change_is_refused_in_one_line_and_nothing_is_written(
    changes: str, told: str, pulumi: Calls
) -> None:
    with pytest.raises(LabError) as refusal:
        stacks.configure("dev", changes)
    assert told in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert pulumi == []


def test_no_change_writes_nothing(pulumi: Calls) -> None:
    stacks.configure("dev", "")
    assert pulumi == []


def test_all_values_are_set_at_once_as_a_shell_splits_them_and_a_list_as_a_whole(
    pulumi: Calls,
) -> None:
    Path("a chart=1").mkdir()
    Path("a chart=1/Chart.yaml").touch()
    stacks.configure("dev", "nodes=2 modules=0,2 featureGates= driverChart='a chart=1'")
    ((arguments, _),) = pulumi
    assert arguments[:4] == ("config", "set-all", "--stack", "dev")
    assert json.loads(arguments[arguments.index("--json") + 1]) == {
        "nodes": {"value": "2"},
        "driverChart": {"value": "a chart=1"},
        "modules": {"value": '["0", "2"]', "objectValue": ["0", "2"]},
        "featureGates": {"value": "[]", "objectValue": []},
    }


@pytest.mark.parametrize("killed", [True, False])
def test_the_file_of_a_stack_changes_as_a_whole_or_not_at_all(
    killed: bool, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (checkout / "Pulumi.dev.yaml").read_text()

    def half_written(*arguments: str, **_: object) -> int:
        Path(arguments[arguments.index("--config-file") + 1]).write_text("config: half")
        if killed:
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(stacks, "pulumi", half_written)
    with pytest.raises(KeyboardInterrupt) if killed else nullcontext():
        stacks.configure("dev", "modules=0,2")
    after = "config: half" if not killed else before
    assert (checkout / "Pulumi.dev.yaml").read_text() == after


# --- stacks that are not there ------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        lambda: stacks.require("prod"),
        lambda: stacks.up("prod", "nodes=2", verify=False),
        lambda: stacks.preview("prod"),
        lambda: stacks.destroy("prod"),
        lambda: stacks.kubeconfig("prod"),
        lambda: stacks.kubectl("prod", "get pods"),
        lambda: stacks.shell("prod"),
        lambda: stacks.logs("prod", 5),
    ],
    ids=["require", "up", "preview", "destroy", "kubeconfig", "kubectl", "shell", "logs"],
)
def test_a_stack_that_is_not_there_is_answered_with_those_that_are(
    command: Callable[[], object], pulumi: Calls
) -> None:
    with pytest.raises(LabError, match=r"^there is no stack 'prod'; stacks: dev \(make"):
        command()
    assert pulumi == []


# --- running Pulumi ------------------------------------------------------------------------------


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stacks whose results were shown."""
    stacks_shown: list[str] = []
    monkeypatch.setattr(results, "show_latest", stacks_shown.append)
    return stacks_shown


def let_updates_leave(*found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest results before and after an update."""
    answers = iter(found)
    monkeypatch.setattr(results, "latest", lambda _: next(answers))


@pytest.mark.parametrize(("verify", "extra"), [(False, {}), (True, {VERIFY: "1"})])
def test_up_configures_updates_and_shows_what_was_found(
    verify: bool,
    extra: dict[str, str],
    pulumi: Calls,
    shown: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let_updates_leave("first", "second", monkeypatch=monkeypatch)
    assert stacks.up("dev", "nodes=2", verify=verify) == 7
    assert [line[:2] for line, _ in pulumi] == [("config", "set-all"), ("up", "--yes")]
    assert pulumi[-1][1] == {"extra": EVENTS | extra}
    assert "--refresh" not in pulumi[-1][0]
    assert shown == ["dev"]


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize("earlier", [[], ["passed"]])
def test_an_update_that_broke_off_leaves_what_it_found_and_shows_that(
    shown: list[str], monkeypatch: pytest.MonkeyPatch, earlier: list[str]
) -> None:
    """Older results would mislead."""
    for status in earlier:
        store.keep("dev", {"status": status, "verification": {}})
    found = {"module": "0", "status": "failed", "checks": []}

    def break_off(*arguments: str, **_: object) -> int:
        folder = Path(".results/dev/checks")
        folder.mkdir(parents=True)
        write_json(folder / "prerequisites.json", {"result": found})
        log = Path(arguments[arguments.index("--event-log") + 1])
        event = {"severity": "error", "urn": "a::b::met", "message": "no\n"}
        log.write_text(json.dumps({"diagnosticEvent": event}) + "\n")
        return 7

    monkeypatch.setattr(stacks, "pulumi", break_off)
    monkeypatch.setattr(stacks, "recover", lambda _: [])
    assert stacks.up("dev", "", verify=False) == 7
    kept = json.loads(Path(".results/dev/latest/results.json").read_text())
    wanted = {
        "stack": "dev", "status": "failed", "reason": "met: no", "verification": {"0": found},
    }  # fmt: skip
    assert {key: kept[key] for key in wanted} == wanted
    assert set(kept) - set(wanted) == {
        *("schemaVersion", "runId", "started", "seconds", "counts"),
        *("configuration", "versions", "basis"),
    }
    assert kept["configuration"]["modules"] == ["0", "1"]
    assert shown == ["dev"]


@pytest.mark.usefixtures("shown")
def test_what_was_deleted_from_the_cluster_is_said_and_made_again(
    pulumi: Calls, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    restored: list[str] = []
    monkeypatch.setattr(drift, "find", lambda _: ["ResourceSlice a"])
    monkeypatch.setattr(drift, "restore_released", restored.append)
    stacks.up("dev", "", verify=False)
    assert "not on the cluster of stack dev any more: ResourceSlice a; " in capsys.readouterr().err
    assert restored == ["dev"]
    assert "--refresh" in pulumi[-1][0]
    assert pulumi[-1][1] == {"extra": EVENTS | {VERIFY: "1"}}


@pytest.mark.usefixtures("shown")
def test_after_a_failed_update_the_pods_of_its_modules_are_looked_at(
    pulumi: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = "kubernetes:core/v1:Namespace"
    resources = [
        {"urn": f"urn:pulumi:dev::lab::{parent}{kind}::{name}", "type": kind}
        | {"inputs": {"metadata": {"name": f"dra-{name}"}}}
        for parent, name in (
            ("dra-workshop:modules:Module$", "module3"),
            ("dra-workshop:driver:DraDriver$", "driver"),
        )
    ]
    state = identity.state_of("dev")
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"checkpoint": {"latest": {"resources": resources}}}))
    explained: list[object] = []
    monkeypatch.setattr(stuck_pods, "explain", lambda *given: explained.append(given))
    stacks.up("dev", "", verify=False)
    assert pulumi
    assert explained == [("dev", ["dra-module3"])]


@pytest.mark.usefixtures("checkout")
def test_an_update_that_had_nothing_to_do_shows_what_there_is(
    shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "pulumi", lambda *_, **__: 0)
    monkeypatch.setattr(stacks, "recover", lambda _: [])
    let_updates_leave("first", "first", monkeypatch=monkeypatch)
    assert stacks.up("dev", "", verify=False) == 0
    assert shown == ["dev"]


@pytest.mark.parametrize(
    "update", [lambda: stacks.up("dev", "nodes=2", False), lambda: stacks.destroy("dev")]
)
def test_nothing_is_changed_while_another_update_of_the_stack_runs(
    update: Callable[[], int], pulumi: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(stack: str) -> list[str]:
        raise LabError(f"stack {stack} is in use")

    monkeypatch.setattr(stacks, "recover", refuse)
    with pytest.raises(LabError, match="stack dev is in use"):
        update()
    assert pulumi == []


@pytest.mark.usefixtures("pulumi")
def test_what_was_settled_is_said(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(stacks, "recover", lambda _: ["removed a lock", "cleared 2 operations"])
    stacks.destroy("dev")
    assert capsys.readouterr().err == "removed a lock\ncleared 2 operations\n"


@pytest.mark.parametrize("whole", [True, False])
def test_a_host_node_that_is_not_whole_is_removed_with_all_that_is_on_it(
    pulumi: Calls, monkeypatch: pytest.MonkeyPatch, capsys: Capture, whole: bool
) -> None:
    done: list[str] = []
    monkeypatch.setattr(machine_node, "is_ours", lambda _: True)
    monkeypatch.setattr(host_node, "whole", lambda _: whole)
    monkeypatch.setattr(host_node, "remove", lambda _: done.append("node"))
    monkeypatch.setattr(embedded, "down", lambda _: done.append("cluster"))
    monkeypatch.setattr(stacks, "forget_releases", lambda _: done.append("releases"))

    stacks.destroy("dev")

    ((_, options),) = pulumi
    assert options["extra"] == (None if whole else {stacks.UNREACHABLE: "true"})
    assert done == ([] if whole else ["node", "cluster", "releases"])
    assert ("are not all running" in capsys.readouterr().err) is not whole


def test_a_stack_without_a_host_node_is_unwound_by_pulumi(
    pulumi: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_node, "is_ours", lambda _: False)
    stacks.destroy("dev")
    assert pulumi[0][1]["extra"] is None


def test_preview_and_destroy_return_what_pulumi_returns(pulumi: Calls) -> None:
    assert (stacks.preview("dev"), stacks.destroy("dev")) == (7, 7)
    assert [line[0] for line, _ in pulumi] == ["preview", "destroy"]


# --- the cluster of a stack ----------------------------------------------------------------------


@pytest.fixture
def cluster(checkout: Path) -> Path:
    folder = checkout / ".run" / "dev"
    folder.mkdir(parents=True)
    (folder / "kubeconfig").touch()
    return folder


@pytest.mark.usefixtures("checkout")
def test_a_stack_without_a_cluster_says_how_to_get_one() -> None:
    with pytest.raises(LabError, match="no cluster running; run: make up STACK=dev"):
        stacks.kubeconfig("dev")


@pytest.mark.usefixtures("cluster")
def test_kubectl_runs_on_the_cluster_of_the_stack(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "BIN", checkout / "bin")
    kubectl = write_script(checkout / "bin" / "kubectl", "exit 3")
    assert stacks.kubectl("dev", "get pods -l 'app=x y'") == 3
    assert calls(kubectl) == ["--kubeconfig .run/dev/kubeconfig get pods -l app=x y"]


@pytest.mark.usefixtures("cluster")
def test_arguments_that_cannot_be_read_are_refused() -> None:
    with pytest.raises(LabError) as refusal:
        stacks.kubectl("dev", "get pods -l 'app")
    assert str(refusal.value) == "ARGS cannot be read: No closing quotation: get pods -l 'app"


@pytest.mark.usefixtures("cluster")
def test_a_shell_asks_the_cluster_of_the_stack_whatever_the_persons_own_asks(
    checkout: Path, tmp_path: Path
) -> None:
    """Start files name the person's own cluster, here as they would in production."""
    theirs = tmp_path / "bashrc"
    theirs.write_text("export KUBECONFIG=/production\n")
    (tmp_path / ".bashrc").write_text("export KUBECONFIG=/production\n")
    program = (
        "import sys; from operations.stack import engine, stacks; "
        "stacks.cluster_state.runs = lambda _: True; "
        "from pathlib import Path; engine.BIN = Path('/tools'); stacks.shell('dev')"
    )
    asked = 'echo "$KUBECONFIG"; echo "${PATH%%:*} $PULUMI_BACKEND_URL $PYTHONUTF8"; exit 3'
    done = subprocess.run(
        [sys.executable, "-c", program], input=asked, cwd=checkout, capture_output=True, text=True,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "KUBECONFIG": "/production", "HOME": str(tmp_path)}
        | {"BASH_ENV": str(theirs), "ENV": str(theirs)},
        check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        str(checkout / ".run" / "dev" / "kubeconfig"),
        f"/tools file://{ROOT / '.state'} 1",
    ]
    assert done.returncode == 3


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize("command", [stacks.shell, lambda stack: stacks.kubectl(stack, "get pods")])
def test_a_stack_without_a_cluster_says_so_in_one_line(command: Callable[[str], object]) -> None:
    with pytest.raises(LabError, match=r"^stack dev has no cluster running; run: make up"):
        command("dev")


@pytest.mark.usefixtures("cluster")
def test_who_asks_a_cluster_that_has_ended_is_told(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    monkeypatch.setattr(stacks, "BIN", checkout / "bin")
    write_script(checkout / "bin" / "kubectl", "echo refused >&2; exit 1")
    assert stacks.kubectl("dev", "get pods") == 1
    assert capfd.readouterr().err == (
        "part of the cluster of stack dev is not running; start it: make up STACK=dev\nrefused\n"
    )


def test_logs_are_the_end_of_every_log(cluster: Path, capsys: Capture) -> None:
    (cluster / "kwok" / "logs").mkdir(parents=True)
    (cluster / "kwok" / "logs" / "etcd.log").write_text("one\ntwo\nthree\n")
    (cluster / "kwok" / "logs" / "kube-apiserver.log").write_bytes(b"\xff\n")
    (cluster / "kwok" / "etcd.yaml").write_text("no log\n")
    stacks.logs("dev", 2)
    assert capsys.readouterr().out == (
        "==> .run/dev/kwok/logs/etcd.log\ntwo\nthree\n\n"
        "==> .run/dev/kwok/logs/kube-apiserver.log\n\ufffd\n\n"
    )


def test_without_room_nothing_is_begun(pulumi: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1e6))
    with pytest.raises(LabError) as refusal:
        stacks.up("dev", "", verify=False)
    assert str(refusal.value) == (
        "the disk of .state is full; free some room and run the same command again"
    )
    assert pulumi == []
