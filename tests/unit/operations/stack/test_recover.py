"""What a killed update leaves, and how it is told from one that is running."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from machine import cluster_state, identity
from machine.errors import LabError
from machine.programs import MARK
from operations.stack import engine
from operations.stack import recover as program
from results import store

Calls = list[tuple[str, ...]]
Start = Callable[..., psutil.Process]
COMMAND = (".venv/bin/python", "-m", "timeit", "-n1", "-r1", "-s")
"""As the graph runs a program: this one runs the code that follows."""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(program, "ROOT", tmp_path)
    (tmp_path / ".state").mkdir()
    return tmp_path / ".state"


@pytest.fixture(autouse=True)
def pulumi(state: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What Pulumi was asked."""
    asked: Calls = []
    monkeypatch.setattr(program, "pulumi", lambda *words, **_: asked.append(words))
    return asked


@pytest.fixture
def start(state: Path) -> Iterator[Start]:
    """Start a sleeping program under a name, by default in the folder of the checkout."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str, *, cwd: Path = state.parent, argv: tuple[str, ...] = ()) -> psutil.Process:
        code = "import time; print('on', flush=True); time.sleep(60)"
        link = state.parent / "bin" / name
        link.parent.mkdir(exist_ok=True)
        if not link.exists():
            link.symlink_to(sys.executable)
        process = subprocess.Popen(
            [*(argv or (str(link), "-c")), code],
            executable=str(link), cwd=cwd, text=True, stdout=subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        return psutil.Process(process.pid)

    yield start
    for process in started:
        process.kill()
        process.communicate()


def lock(state: Path, pid: int, *, host: str = "", since: datetime | None = None) -> Path:
    folder = state / ".pulumi/locks/organization/dra-workshop/dev"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{pid}.json"
    told = {
        "pid": pid,
        "username": "me",
        "hostname": host or socket.gethostname(),
        "timestamp": (since or datetime.now(UTC)).isoformat().replace("+00:00", "123Z"),
    }
    path.write_text(json.dumps(told))
    path.with_name(f"{path.name}.attrs").write_text("{}")
    return path


def leave_pending(state: Path, *operations: dict[str, Any]) -> None:
    folder = state / ".pulumi/stacks/dra-workshop"
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = {"latest": {"pending_operations": list(operations)}}
    (folder / "dev.json").write_text(json.dumps({"checkpoint": checkpoint}))


def pending(done: str, type_: str, called: str = "x", **inputs: Any) -> dict[str, Any]:
    urn = f"urn:pulumi:dev::dra-workshop::{type_}::{called}"
    return {"type": done, "resource": {"type": type_, "urn": urn, "inputs": inputs}}


def ended() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


# --- locks -----------------------------------------------------------------------------------


def test_an_intact_stack_is_left_alone(pulumi: Calls) -> None:
    assert program.recover("dev") == []
    assert pulumi == []


def test_the_lock_of_an_ended_engine_is_removed_and_everything_is_verified_again(
    state: Path, pulumi: Calls
) -> None:
    pid = ended()
    lock(state, pid)
    (cluster_state.RUN / "dev").mkdir(parents=True)
    (cluster_state.RUN / "dev" / cluster_state.START_ID).write_text("first")
    assert program.recover("dev") == [
        f"removed the lock of process {pid}, which ended without removing it"
    ]
    assert pulumi == [("cancel", "--yes", "--stack", "dev")]
    assert not (cluster_state.RUN / "dev" / cluster_state.START_ID).exists()


@pytest.fixture
def held(state: Path, start: Start) -> psutil.Process:
    """An engine at work on the stack."""
    engine = start("pulumi")
    lock(state, engine.pid)
    return engine


def test_a_running_update_is_named_and_nothing_is_changed(
    held: psutil.Process, state: Path, pulumi: Calls
) -> None:
    leave_pending(state, pending("creating", "kubernetes:core/v1:Pod"))
    with pytest.raises(LabError) as refusal:
        program.recover("dev")
    assert f"stack dev is in use by process {held.pid} of me since 20" in str(refusal.value)
    assert "wait for it" in str(refusal.value)
    assert pulumi == []


def test_a_running_update_of_another_stack_does_not_matter(
    held: psutil.Process, pulumi: Calls
) -> None:
    assert program.recover("other") == []
    assert pulumi == []


def test_a_lock_whose_number_is_another_program_by_now_counts_as_ended(
    state: Path, start: Start, pulumi: Calls
) -> None:
    lock(state, start("shell").pid)
    assert program.recover("dev") != []
    assert pulumi[0][0] == "cancel"


def test_a_lock_whose_number_is_a_later_engine_by_now_counts_as_ended(
    state: Path, start: Start, pulumi: Calls
) -> None:
    lock(state, start("pulumi").pid, since=datetime.now(UTC) - timedelta(hours=1))
    assert program.recover("dev") != []
    assert pulumi[0][0] == "cancel"


def test_an_engine_that_ended_and_was_not_asked_how_counts_as_ended(
    held: psutil.Process, pulumi: Calls
) -> None:
    held.kill()
    while held.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert program.recover("dev") != []
    assert pulumi[0][0] == "cancel"


def test_a_lock_of_another_machine_is_left_to_the_person(state: Path, pulumi: Calls) -> None:
    lock(state, 1, host="elsewhere")
    with pytest.raises(LabError, match=r"process 1 of me on elsewhere .*pulumi cancel --y"):
        program.recover("dev")
    assert pulumi == []


def test_after_a_rename_of_the_machine_a_running_update_is_still_seen(
    held: psutil.Process, pulumi: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    with pytest.raises(LabError, match=f"is in use by process {held.pid} of me"):
        program.recover("dev")
    held.kill()
    held.wait()
    with pytest.raises(LabError, match="or renamed is a new name of that machine, run: "):
        program.recover("dev")
    assert pulumi == []


def test_a_lock_that_was_half_written_counts_as_ended(state: Path, pulumi: Calls) -> None:
    lock(state, 1).write_text("")
    assert program.recover("dev") != []
    assert pulumi[0][0] == "cancel"


# --- the state -------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(state: Path) -> Path:
    leave_pending(state)
    path = state / ".pulumi/stacks/dra-workshop/dev.json"
    for beside in (".attrs", ".bak", ".bak.attrs"):
        path.with_name(f"dev.json{beside}").write_text('{"older": "one"}')
    return path


def test_a_state_that_can_be_read_is_left_alone(checkpoint: Path, pulumi: Calls) -> None:
    before = checkpoint.read_text()
    assert program.recover("dev") == []
    assert checkpoint.read_text() == before
    assert pulumi == []


def test_in_place_of_half_a_state_comes_the_one_before(checkpoint: Path) -> None:
    older = checkpoint.with_name("dev.json.bak")
    older.write_text(checkpoint.read_text())
    checkpoint.write_text(older.read_text()[:20])
    assert program.recover("dev") == [
        "the newest state was damaged; took that of one operation before"
    ]
    assert checkpoint.read_text() == older.read_text()


def test_a_state_that_is_damaged_beyond_repair_begins_anew(checkpoint: Path, pulumi: Calls) -> None:
    for path in (checkpoint, checkpoint.with_name("dev.json.bak")):
        path.write_text("")
    (done,) = program.recover("dev")
    assert "damaged beyond repair" in done
    assert not checkpoint.exists()
    assert pulumi == [("stack", "init", "dev", "--no-select")]


def test_half_written_checksums_are_removed(checkpoint: Path, state: Path) -> None:
    checkpoint.with_name("dev.json.attrs").write_text("")
    lock(state, ended()).with_name("lock.json.attrs").write_text("")
    program.recover("dev")
    left = sorted(path.name for path in checkpoint.parent.glob("*.attrs"))
    assert left == ["dev.json.bak.attrs"]
    assert not list(state.glob("**/lock.json.attrs"))


# --- processes -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pulumi-resource-kubernetes", "pulumi-language-python"])
def test_plugins_that_outlived_their_engine_are_ended(name: str, start: Start) -> None:
    plugin = start(name)
    assert program.recover("dev") == ["ended 1 processes of an update that was killed"]
    assert not plugin.is_running() or plugin.status() == psutil.STATUS_ZOMBIE


def test_a_program_of_the_graph_that_outlived_its_engine_is_ended(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARK, "cluster")
    left = start("python", argv=COMMAND)
    assert left in program.orphans()


def test_what_a_person_runs_is_no_orphan(start: Start) -> None:
    by_hand = start("python", argv=COMMAND)
    assert by_hand not in program.orphans()


def test_plugins_of_another_checkout_are_left_alone(start: Start, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    plugin = start("pulumi-resource-command", cwd=tmp_path / "other")
    assert program.recover("dev") == []
    assert plugin.status() != psutil.STATUS_ZOMBIE


def test_plugins_of_a_running_engine_are_left_alone(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = start("pulumi-resource-command")
    engine = start("pulumi")
    monkeypatch.setattr(psutil.Process, "parents", lambda self: [engine] if self == plugin else [])
    assert program.recover("dev") == []
    assert plugin.status() != psutil.STATUS_ZOMBIE


# --- operations that were never finished -----------------------------------------------------


def test_unfinished_operations_are_settled_before_they_are_forgotten(
    state: Path, pulumi: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = pending("creating", "kubernetes:helm.sh/v3:Release")
    leave_pending(state, operation)
    lock(state, ended())

    def settle(stack: str, found: dict[str, Any]) -> list[str]:
        assert pulumi == [], "a recovery that is killed must find them again"
        assert (stack, found) == ("dev", operation)
        return ["took it back"]

    monkeypatch.setattr(program, "settle", settle)
    done = program.recover("dev")
    assert (done[0], done[-1]) == ("took it back", "cleared 1 operations that were never finished")
    assert [words[:2] for words in pulumi] == [
        ("cancel", "--yes"),
        ("stack", "export"),
        ("stack", "import"),
    ]


RELEASE: dict[str, Any] = {"name": "r", "namespace": "n"}
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "n"},
}


@pytest.mark.parametrize(
    ("operation", "is_taken_back"),
    [
        (pending("creating", engine.RELEASE, **RELEASE), True),
        (pending("updating", engine.RELEASE, **RELEASE), True),
        (pending("deleting", engine.RELEASE, **RELEASE), False),
        (pending("creating", "kubernetes:core/v1:Pod", **POD), True),
        (pending("deleting", "kubernetes:core/v1:Pod", **POD), False),
        (pending("creating", "kubernetes:resource.k8s.io/v1:ResourceClaim"), True),
        (pending("creating", engine.NAMESPACE), False),
        (pending("creating", "command:local:Command", "cluster"), False),
    ],
)
def test_only_what_cannot_be_done_again_is_taken_back(
    operation: dict[str, Any], is_taken_back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[dict[str, Any]] = []

    def take_back(stack: str, found: dict[str, Any]) -> list[str]:
        called.append(found)
        return []

    monkeypatch.setattr(program, "_take_back", take_back)
    program.settle("dev", operation)
    assert called == ([operation] if is_taken_back else [])
    assert not cluster_state.is_being_removed("dev")


def test_a_cluster_whose_removal_was_killed_is_to_be_removed(state: Path) -> None:
    program.settle("dev", pending("deleting", "command:local:Command", "cluster"))
    assert cluster_state.is_being_removed("dev")
    program.settle("other", pending("deleting", "command:local:Command", "check-cluster"))
    assert not cluster_state.is_being_removed("other")


@pytest.mark.usefixtures("state")
def test_on_a_cluster_that_is_gone_there_is_nothing_to_take_back() -> None:
    operation = pending("creating", "kubernetes:helm.sh/v3:Release", name="r", namespace="n")
    assert program.settle("dev", operation) == []


def test_two_recoveries_of_a_stack_take_turns(state: Path) -> None:
    with program._alone("dev"):
        code = f"import os; os.chdir({os.fspath(state.parent)!r})\n" + (
            "import filelock, sys; sys.path.insert(0, '')\n"
            "try: filelock.FileLock('.state/dev.recover.lock').acquire(timeout=0.1)\n"
            "except filelock.Timeout: print('waits')"
        )
        said = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
    assert said.stdout == "waits\n"


def test_releases_on_a_cluster_that_is_gone_are_forgotten(state: Path, pulumi: Calls) -> None:
    folder = state / ".pulumi" / "stacks" / "dra-workshop"
    folder.mkdir(parents=True)
    resources = [
        {"type": "kubernetes:core/v1:Namespace", "urn": "urn:namespace"},
        {"type": engine.RELEASE, "urn": "urn:release"},
    ]
    content = {"checkpoint": {"latest": {"resources": resources}}}
    (folder / "lab.json").write_text(json.dumps(content))

    program.forget_releases("lab")

    assert [call[:3] for call in pulumi] == [("state", "delete", "urn:release")]


def test_where_there_is_no_state_nothing_is_forgotten(state: Path, pulumi: Calls) -> None:
    program.forget_releases("lab")
    assert pulumi == []


def test_a_killed_update_leaves_a_result_when_it_is_settled(state: Path) -> None:
    store.keep("dev", {"status": "passed", "verification": {}})
    lock(state, ended())
    assert program.held_by("dev")
    program.recover("dev")
    kept = json.loads(Path(".results/dev/latest/results.json").read_text())
    assert kept["status"] == "failed"
    assert "the update was killed (process" in kept["reason"]


def test_the_output_status_of_an_update_that_failed_does_not_say_passed(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = {"type": engine.STACK, "outputs": {"status": "passed", "cluster": {"a": 1}}}
    path = identity.state_of("dev")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"checkpoint": {"latest": {"resources": [stack]}}}))
    taken: list[Any] = []

    def pulumi(*words: str, **_: object) -> int:
        file = Path(words[-1])
        if "export" in words:
            file.write_text(json.dumps({"deployment": {"resources": [stack]}}))
        else:
            taken.append(json.loads(file.read_text())["deployment"]["resources"][0]["outputs"])
        return 0

    monkeypatch.setattr(program, "pulumi", pulumi)
    program.forget_passed("dev")
    assert taken == [{"status": "failed", "cluster": {"a": 1}}]
    stack["outputs"] = {"status": "failed"}
    path.write_text(json.dumps({"checkpoint": {"latest": {"resources": [stack]}}}))
    program.forget_passed("dev")
    assert len(taken) == 1, "it says so already"
