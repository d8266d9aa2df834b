"""Running pulumi, with a script in its place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from machine.errors import LabError
from operations.stack import engine
from tests.unit.scripts import calls, write_script
from toolchain import layout

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Pulumi that prints as an update does, and fails."""
    monkeypatch.setattr(engine, "BIN", tmp_path / "bin")
    monkeypatch.chdir(tmp_path)
    return write_script(
        tmp_path / "bin" / "pulumi",
        """echo "home $PULUMI_HOME, extra $EXTRA"
echo ' +  command:local:Command check creating (0s)'
echo ' +  command:local:Command check creating (0s) {"module": "0", "checks": [{"id": "a"}]}'
echo ' +  command:local:Command check created (0.91s) {"module": "0", "checks": [{"id": "a"}]}'
echo 'error: no' >&2
exit 7""",
    )


def test_lines_are_handed_on_once_and_without_json(program: Path, capfd: Capture) -> None:
    assert engine.pulumi("up", extra={"EXTRA": "more"}) == 7
    assert capfd.readouterr().out.splitlines() == [
        f"home {layout.PULUMI_HOME}, extra more",
        " +  command:local:Command check creating (0s)",
        " +  command:local:Command check created (0.91s)",
    ]
    assert calls(program) == ["up --non-interactive --suppress-progress --color never"]


def test_the_json_of_a_check_that_ran_again_is_not_shown_either(
    program: Path, capfd: Capture
) -> None:
    progress = " ~  command:local:Command check updated (1s) [diff: ~stdin]"
    write_script(program, f"""echo '{progress}; {{"module": "0", "status": "failed"}}'""")
    engine.pulumi("up")
    assert capfd.readouterr().out == f"{progress}\n"


REFUSED = "manifests/module3/20-pods.yaml: Pod/pod-1: spec.containers: it is missing"
UNHANDLED = "an unhandled error occurred: program exited with non-zero exit code: 1"


def test_an_error_of_the_program_is_not_called_unhandled_too(program: Path, capfd: Capture) -> None:
    stack = " +  pulumi:pulumi:Stack dra-workshop-module3 creating (0s)"
    lines = [f"{stack} error: {text}" for text in (REFUSED, UNHANDLED)]
    write_script(program, "\n".join(f"echo '{line}'" for line in lines))
    engine.pulumi("up")
    assert capfd.readouterr().out == f"{lines[0]}\n"
    write_script(program, f"echo '{lines[1]}'")
    engine.pulumi("up")
    assert capfd.readouterr().out == f"{lines[1]}\n", "where nothing else tells it"


@pytest.mark.parametrize(
    ("messages", "reason"),
    [([REFUSED, UNHANDLED], REFUSED), ([UNHANDLED], UNHANDLED), ([], "its output above says why")],
)
def test_nor_is_it_in_the_results(tmp_path: Path, messages: list[str], reason: str) -> None:
    events = [{"diagnosticEvent": {"severity": "error", "message": m}} for m in messages]
    (tmp_path / "events").write_text("\n".join(map(json.dumps, events)))
    assert engine.errors_in(tmp_path / "events") == reason


URN = "urn:pulumi:module4::dra-workshop::kubernetes:resource.k8s.io/v1:ResourceClaim::a-claim"
PROVIDER = f'resource "{URN}" was not successfully created by the Kubernetes API server: '
DENIED = 'admission webhook "gpu.nvidia.com" denied the request: unknown GPU sharing strategy: mps'
CLAIM = {"kind": "ResourceClaim", "metadata": {"name": "shared", "namespace": "lab"}}


@pytest.mark.parametrize(
    ("name", "place"),
    [("shared", "manifests/b/10-claims.yaml"), ("shared-2", "manifests/b")],
    ids=["in a file", "made after its model"],
)
def test_what_a_webhook_refused_is_told_with_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, namespace in (("a", "another"), ("b", "lab")):
        claim = CLAIM | {"metadata": {"name": "shared", "namespace": namespace}}
        path = tmp_path / "manifests" / folder / "10-claims.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(f"{json.dumps(claim)}\n---\n")
    inputs = CLAIM | {"metadata": {"name": name, "namespace": "lab"}}
    assert reason(tmp_path, DENIED, inputs) == (
        f"{place}: ResourceClaim/{name}: {DENIED}; correct it there, and run this again"
    )


def test_what_else_the_api_server_refused_is_told_by_the_name_of_the_resource(
    tmp_path: Path,
) -> None:
    assert reason(tmp_path, "claims is forbidden", CLAIM) == "a-claim: claims is forbidden"


def reason(folder: Path, message: str, inputs: dict[str, Any]) -> str:
    """Of an update in which the API server refused an object."""
    begun = {"metadata": {"op": "create", "urn": URN, "new": {"inputs": inputs}}}
    error = {"severity": "error", "urn": URN, "message": f"{PROVIDER}{message}\n"}
    events = [
        {"resourcePreEvent": begun},
        {"diagnosticEvent": error},
        {"diagnosticEvent": {"severity": "error", "message": "update failed"}},
    ]
    (folder / "events").write_text("\n".join(map(json.dumps, events)))
    return engine.errors_in(folder / "events")


def test_the_engines_names_for_a_refused_resource_are_not_shown(
    program: Path, capfd: Capture
) -> None:
    write_script(program, f"echo 'a-claim error: {PROVIDER}{DENIED}'")
    engine.pulumi("up")
    assert capfd.readouterr().out == f"a-claim error: {DENIED}\n"


@pytest.mark.parametrize(
    "line",
    [
        'error: the API server answered 403: {"kind":"Status","message":"pods is forbidden"}',
        '    error: Client: Response body: {"kind":"Status","code":404}',
        ' +  command:local:Command cluster creating (3s) error: exit status 1: {"kind":"Status"}',
        ' +  command:local:Command check creating (3s) {"kind":"Status"} is no verdict',
        ' +  kubernetes:core/v1:Pod pod-1 creating (3s) warning: {"reason":"Forbidden"}',
    ],
)
def test_what_somebody_answered_is_handed_on_whole(
    line: str, program: Path, capfd: Capture
) -> None:
    write_script(program, f"echo '{line}'")
    engine.pulumi("up")
    assert capfd.readouterr().out == f"{line}\n"


@pytest.mark.usefixtures("program")
def test_ctrl_c_lets_pulumi_end_in_good_order(monkeypatch: pytest.MonkeyPatch) -> None:
    wait = subprocess.Popen.wait
    pressed = iter([True, True])

    def interrupted(process: subprocess.Popen[str]) -> int:
        if next(pressed, False):
            raise KeyboardInterrupt
        return wait(process)

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    assert engine.pulumi("up") == 7
    assert list(pressed) == []


@pytest.mark.usefixtures("program")
def test_ctrl_c_while_lines_come_loses_none(
    monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    hand_on = engine._hand_on
    pressed = iter([True, True])

    def interrupted(process: subprocess.Popen[str]) -> None:
        if next(pressed, False):
            raise KeyboardInterrupt
        hand_on(process)

    monkeypatch.setattr(engine, "_hand_on", interrupted)
    assert engine.pulumi("up") == 7
    assert list(pressed) == []
    assert len(capfd.readouterr().out.splitlines()) == 3


def test_a_line_is_handed_on_when_it_comes(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = "for _ in $(seq 600); do [ -e seen ] || sleep 0.1; done"
    write_script(program, f"echo first; {wait}; [ -e seen ] && echo second")
    shown: list[str] = []

    def show(text: str) -> None:
        shown.append(text)
        (tmp_path / "seen").touch()

    no_terminal = SimpleNamespace(write=show, flush=lambda: None, isatty=lambda: False)
    monkeypatch.setattr(sys, "stdout", no_terminal)
    assert engine.pulumi("up") == 0
    assert shown == ["first\n", "second\n"]


def test_a_quiet_command_that_fails_raises_what_it_said(program: Path, capfd: Capture) -> None:
    with pytest.raises(LabError, match=r"^error: no$"):
        engine.pulumi("config", "set", quiet=True)
    write_script(program, "echo done")
    assert engine.pulumi("config", "set", quiet=True) == 0
    assert capfd.readouterr() == ("", "")
