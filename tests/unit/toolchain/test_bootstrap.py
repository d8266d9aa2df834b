"""The first step of set-up: `.venv`, made by the system's Python. Nothing is installed here."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.unit.scripts import wait_until
from toolchain import bootstrap

Capture = pytest.CaptureFixture[str]


@dataclass
class Commands:
    """What set-up ran. Of what fails, `broken` says the step's first word."""

    steps: list[str] = field(default_factory=list)
    lines: list[list[str]] = field(default_factory=list)
    broken: str = ""
    waited: bool = False

    def run(self, step: str, command: list[str], log: Path) -> None:
        if step.split()[0] == self.broken:
            bootstrap.fail(f"{step} failed")
        self.steps.append(step.split()[0])
        self.lines.append(command)
        if "venv" in command:
            if "--clear" in command:
                shutil.rmtree(bootstrap.VENV, ignore_errors=True)
            (bootstrap.VENV / "bin").mkdir(parents=True)
            for name in ("python", "pip"):
                (bootstrap.VENV / "bin" / name).touch()

    def begin_compiling(self) -> Commands:
        self.steps.append("compiling")
        return self

    def wait(self) -> None:
        self.waited = True

    def hand_over(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.steps.append("toolchain")
        self.lines.append(command)
        return subprocess.CompletedProcess(command, 0)

    def clear(self) -> None:
        self.steps.clear()
        self.lines.clear()


@pytest.fixture(autouse=True)
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """A checkout with two lock files, and every command replaced by a note of it."""
    noted = Commands()
    for name in ("requirements.lock", "requirements-dev.lock"):
        (tmp_path / name).write_text(f"{name}\n")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(bootstrap, "run", noted.run)
    monkeypatch.setattr(bootstrap, "begin_compiling", noted.begin_compiling)
    monkeypatch.setattr(subprocess, "run", noted.hand_over)
    monkeypatch.setattr(sys, "argv", ["bootstrap.py"])
    return noted


def set_up(*arguments: str) -> int | str | None:
    """Run bootstrap; returns what it exits with."""
    sys.argv[1:] = arguments
    with pytest.raises(SystemExit) as end:
        bootstrap.main()
    return end.value.code


def test_a_first_set_up_makes_the_environment_and_hands_over(
    commands: Commands, tmp_path: Path
) -> None:
    assert set_up() == 0
    assert commands.steps == ["making", "installing", "compiling", "toolchain"]
    python = str(tmp_path / ".venv" / "bin" / "python")
    assert commands.lines[1][-2:] == ["-r", str(tmp_path / "requirements.lock")]
    assert "--require-hashes" in commands.lines[1]
    assert commands.lines[2] == [python, "-m", "toolchain", "install"]
    assert commands.waited


def test_a_path_in_which_a_lab_cannot_work_is_refused_before_anything_is_made(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "100%: my\nlab"
    root.mkdir()
    monkeypatch.setattr(bootstrap, "ROOT", root)
    told = str(set_up())
    assert told.startswith("set-up: the path of this checkout has '\\n' % : in it: ")
    assert (commands.steps, list(root.iterdir())) == ([], [])


@pytest.mark.parametrize("name", ["my lab", "it's", "b=c&d;e(f)+@[g]", "Übung"])
def test_other_paths_are_not_refused(name: str) -> None:
    assert bootstrap.refused(Path("/home/a") / name) == ""


def test_a_host_node_is_handed_on(commands: Commands) -> None:
    set_up("--host-node")
    assert commands.lines[-1][1:] == ["-m", "toolchain", "install", "--host-node"]


def test_a_second_set_up_only_hands_over_and_says_nothing(
    commands: Commands, capsys: Capture
) -> None:
    set_up()
    commands.clear()
    capsys.readouterr()
    set_up()
    assert commands.steps == ["toolchain"]
    assert capsys.readouterr() == ("", "")


def test_a_changed_lock_file_is_installed_into_the_same_environment(
    commands: Commands, tmp_path: Path
) -> None:
    set_up()
    commands.clear()
    (tmp_path / "requirements.lock").write_text("changed\n")
    set_up()
    assert commands.steps == ["installing", "compiling", "toolchain"]
    commands.clear()
    set_up()
    assert commands.steps == ["toolchain"]


def test_the_environment_of_the_tests_serves_the_lab_as_well(
    commands: Commands, tmp_path: Path
) -> None:
    set_up("--dev")
    assert commands.lines[1][-1] == str(tmp_path / "requirements-dev.lock")
    commands.clear()
    set_up()
    set_up("--dev")
    assert commands.steps == ["toolchain", "toolchain"]


def test_what_the_tests_need_is_added_to_the_environment_of_the_lab(commands: Commands) -> None:
    set_up()
    commands.clear()
    set_up("--dev")
    assert commands.steps == ["installing", "compiling", "toolchain"]


def test_from_wheels_no_index_is_asked_and_pip_need_not_be_installed(
    commands: Commands, tmp_path: Path
) -> None:
    (tmp_path / "wheels").mkdir()
    for name in ("pip-26.3-py3-none-any.whl", "semver-3.1.1-py3-none-any.whl"):
        (tmp_path / "wheels" / name).touch()
    assert set_up("--wheels", str(tmp_path / "wheels")) == 0
    assert "--without-pip" in commands.lines[0]
    assert commands.lines[1] == [
        *(str(tmp_path / ".venv/bin/python"), f"{tmp_path}/wheels/pip-26.3-py3-none-any.whl/pip"),
        *("--isolated", "install", "--no-index", "--no-deps", "--no-cache-dir", "--no-compile"),
        *sorted(map(str, (tmp_path / "wheels").iterdir())),
    ]
    commands.clear()
    set_up()
    assert commands.steps == ["toolchain"], "as if it had been made from the index"


def test_wheels_without_pip_are_refused(commands: Commands, tmp_path: Path) -> None:
    assert "there is no pip-*.whl in it" in str(set_up("--wheels", str(tmp_path / "nowhere")))
    assert commands.steps == []


def test_a_bundle_has_nothing_for_tests_and_says_so(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "requirements-dev.lock").unlink()
    assert "what only tests need is not part of a bundle" in str(set_up("--dev"))
    assert commands.steps == []


@pytest.mark.parametrize("step", ["making", "installing"])
def test_an_installation_that_failed_is_made_again(commands: Commands, step: str) -> None:
    commands.broken = step
    assert str(set_up()).startswith(f"set-up: {step}")
    assert "toolchain" not in commands.steps
    commands.broken = ""
    commands.clear()
    assert set_up() == 0
    assert commands.steps[-3:] == ["installing", "compiling", "toolchain"]


def test_a_failed_change_leaves_an_environment_that_counts_as_not_made(
    commands: Commands, tmp_path: Path
) -> None:
    set_up()
    (tmp_path / "requirements.lock").write_text("changed\n")
    commands.broken = "installing"
    set_up()
    (tmp_path / "requirements.lock").write_text("requirements.lock\n")
    commands.broken = ""
    commands.clear()
    set_up()
    assert commands.steps == ["installing", "compiling", "toolchain"]


def test_an_environment_whose_python_was_removed_is_made_again(
    commands: Commands, tmp_path: Path
) -> None:
    set_up()
    commands.clear()
    (tmp_path / ".venv" / "bin" / "python").unlink()
    (tmp_path / ".venv" / "bin" / "python").symlink_to(tmp_path / "removed")
    set_up()
    assert commands.steps == ["making", "installing", "compiling", "toolchain"]


def test_the_exit_code_is_that_of_the_toolchain(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess[str]([], 1)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    assert set_up() == 1


def test_a_second_set_up_of_the_checkout_waits_for_the_first(
    commands: Commands, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / ".tools").mkdir()
    with ThreadPoolExecutor() as second:
        with (tmp_path / ".tools" / "lock").open("w") as first:
            fcntl.flock(first, fcntl.LOCK_EX)
            waiting = second.submit(set_up)
            wait_until(lambda: "waiting for it" in capsys.readouterr().err)
            assert commands.steps == []
        assert waiting.result(timeout=60) == 0


def test_an_old_python_is_refused_in_one_line_with_a_remedy(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as old:
        old.setattr(sys, "version_info", (3, 10, 12, "final", 0))
        refusal = set_up()
    assert refusal == (
        "set-up: Python 3.10.12 is too old; 3.11 or later is needed "
        "(choose one with: make PYTHON=python3.12 …)"
    )
    assert commands.steps == []
    assert not (tmp_path / ".tools").exists()


def test_an_unsupported_platform_is_refused_in_one_line(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as windows:
        windows.setattr(sys, "platform", "win32")
        refusal = set_up()
    assert refusal == (
        "set-up: platform win32 is not supported; Linux and macOS are (Windows: use WSL2)"
    )
    assert commands.steps == []


def test_a_failed_step_shows_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    script = "for n in 1 2 3 4 5 6 7 8 9; do echo line $n; done; exit 1"
    with pytest.raises(SystemExit) as end:
        bootstrap.run("installing", ["/bin/sh", "-c", script], tmp_path / "python.log")
    first, *rest = str(end.value).splitlines()
    assert first == "set-up: installing failed; the end of python.log says:"
    assert rest == [f"  line {number}" for number in range(2, 10)]


def test_a_step_that_succeeds_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.undo()
    bootstrap.run("installing", ["/bin/sh", "-c", "echo fetched"], tmp_path / "python.log")
    assert (tmp_path / "python.log").read_text() == "fetched\n"
    assert capsys.readouterr() == ("", "")
