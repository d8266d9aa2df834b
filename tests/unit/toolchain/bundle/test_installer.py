"""`install` of a bundle, run as a person runs it, on a bundle with a small project and one tool."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.scripts import wait_until
from tests.unit.toolchain.bundle.conftest import KILLED, TOOL, Machine, write
from toolchain import cache
from toolchain.bundle import installer, unpacking


def assert_installed(machine: Machine) -> None:
    tool = machine.cache / TOOL
    assert sorted(path.name for path in tool.iterdir()) == ["etcd", "etcd-too", "latest"]
    assert (tool / "etcd").stat().st_mode & 0o777 == 0o755
    assert (tool / "etcd").samefile(tool / "etcd-too"), "packed and unpacked once"
    assert (tool / "latest").read_text() == "etcd" * 50_000
    assert (machine.into / ".venv" / "wheel").read_text() == "a wheel"
    assert not (machine.into / ".tools" / "wheels").exists()
    left = [*machine.cache.glob("*.partial-*"), *machine.into.parent.glob(".*.partial")]
    assert left == []


# --- installing ----------------------------------------------------------------------------------


def test_everything_is_put_in_its_place_and_the_next_command_is_told(machine: Machine) -> None:
    done = machine.install()
    assert done.returncode == 0, done.stderr
    assert_installed(machine)
    assert (machine.into / "calls").read_text() == "--wheels build\n"
    assert done.stdout.startswith(f"cd {machine.into} && ")
    assert done.stderr.splitlines()[0].endswith("files are as SHA256SUMS says")


def test_a_second_run_unpacks_nothing(machine: Machine) -> None:
    machine.install()
    before = {p: p.lstat().st_mtime_ns for p in machine.into.rglob("*") if p.name != "calls"}
    done = machine.install()
    assert done.returncode == 0
    assert "unpacking" not in done.stderr
    assert (machine.into / "calls").read_text() == "--wheels build\nbuild\n"
    assert {p: p.lstat().st_mtime_ns for p in before} == before


def test_an_empty_folder_is_taken(machine: Machine) -> None:
    machine.into.mkdir()
    assert machine.install().returncode == 0
    assert_installed(machine)


def test_what_a_person_has_removed_is_put_back(machine: Machine) -> None:
    machine.install()
    (machine.into / "mine").touch()
    shutil.rmtree(machine.into / ".venv")
    shutil.rmtree(machine.cache / TOOL)
    assert machine.install().returncode == 0
    assert_installed(machine)
    assert (machine.into / "mine").exists()


@pytest.mark.parametrize("member", ["etcd", "toolchain/bootstrap.py", "pip-1.whl"])
def test_one_that_was_killed_is_taken_up_again(machine: Machine, member: str) -> None:
    killed = machine.install(sys.executable, "-c", KILLED, member)
    assert killed.returncode == -9
    assert not machine.into.exists()
    assert not (machine.cache / TOOL).exists()
    done = machine.install()
    assert done.returncode == 0, done.stderr
    assert_installed(machine)


def test_a_failed_set_up_is_run_again_from_what_is_there(machine: Machine) -> None:
    machine.install()
    shutil.rmtree(machine.into / ".venv")
    (machine.into / "broken").touch()
    failed = machine.install()
    assert failed.returncode == 1
    assert "set-up failed; fix what it says and run the same command again" in failed.stderr
    (machine.into / "broken").unlink()
    done = machine.install()
    assert done.returncode == 0
    assert "unpacking" not in done.stderr, "the wheels were still there"
    assert_installed(machine)


def test_the_tools_of_a_host_node_are_set_up_too(machine: Machine) -> None:
    done = machine.sealed(host_node=True).install()
    assert done.returncode == 0, done.stderr
    calls = (machine.into / "calls").read_text().splitlines()
    assert calls == ["--wheels build", "-m toolchain install --host-node"]
    assert done.stdout.strip().endswith("node=host")


# --- what is refused -----------------------------------------------------------------------------


def test_every_damaged_and_missing_part_is_named(machine: Machine) -> None:
    first, second, *_ = machine.manifest.archive
    (machine.here / first).unlink()
    with (machine.here / second).open("r+b") as part:
        (byte,) = part.read(1)
        part.seek(0)
        part.write(bytes([byte ^ 0xFF]))  # another one, whatever it is
    told = machine.refusal()
    assert f"{first} is missing" in told
    assert f"{second} is damaged or not whole (10000 bytes)" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "SHA256SUMS is missing; copy it into"),
        ("", "SHA256SUMS is damaged; copy it again into"),
        ("00  bundle.json\n", "SHA256SUMS is damaged"),
        (f"{'0' * 64}  ../bundle.json\n", "SHA256SUMS is damaged"),
        (f"{'0' * 64}  bundle.json\n", "bundle.json is damaged or not whole"),
    ],
    ids=["missing", "empty", "short", "elsewhere", "other"],
)
def test_without_digests_nothing_is_installed(
    machine: Machine, text: str | None, told: str
) -> None:
    if text is None:
        (machine.here / "SHA256SUMS").unlink()
    else:
        (machine.here / "SHA256SUMS").write_text(text)
    assert told in machine.refusal()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"python": "3.99"}, "is for Python 3.99, and this is 3."),
        ({"platform": "linux-s390x"}, "is for linux-s390x, and this machine is linux-"),
        ({"glibc": "99.1"}, "glibc 99.1 or later is needed, and this machine has glibc 2."),
        ({"environment": 10**18}, "MB free; free some room, or choose another disk"),
    ],
    ids=["python", "platform", "glibc", "room"],
)
def test_a_machine_that_it_is_not_for_is_refused(
    machine: Machine, changes: dict[str, object], told: str
) -> None:
    assert told in machine.sealed(**changes).refusal()


@pytest.mark.parametrize(
    ("mark", "held"), [("", "something else"), ("bundle-0", "the bundle bundle-0")]
)
def test_a_folder_of_somebody_else_is_left_alone(machine: Machine, mark: str, held: str) -> None:
    write(machine.into / "theirs", "")
    if mark:
        write(machine.into / installer.MARK, json.dumps({"name": mark}))
    done = machine.install()
    assert done.returncode == 1
    assert f"{machine.into} holds {held}; choose another folder" in done.stderr
    assert not machine.cache.exists()


def test_room_is_asked_of_each_disk(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On one disk tools count once, as they are linked; else they are copied."""
    sizes = {"cache/a": 700, "project": 10, "wheels": 90}
    manifest = replace(machine.manifest, groups=sizes, environment=200)
    into, cache_ = tmp_path / "lab", tmp_path / "cache"
    one = SimpleNamespace(stat=lambda: SimpleNamespace(st_dev=1))
    other = SimpleNamespace(stat=lambda: SimpleNamespace(st_dev=2))
    for second in (one, other):
        disks = {into: one, cache_: second}
        monkeypatch.setattr(installer, "existing", disks.__getitem__)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        installer.require_room(list(sizes), manifest, into, cache_)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=999))
        with pytest.raises(unpacking.Refused, match="are needed for"):
            installer.require_room(list(sizes), manifest, into, cache_)


# --- what it shares with set-up ------------------------------------------------------------------


@pytest.mark.parametrize("base", [None, "/elsewhere"])
def test_it_fills_the_cache_that_set_up_looks_into(
    base: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if base:
        monkeypatch.setenv("XDG_CACHE_HOME", base)
    else:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert installer.cache_folder() == cache.folder()


def test_it_waits_for_a_set_up_that_fills_the_cache(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(machine.home / ".cache"))
    from toolchain import build

    command = [sys.executable, str(machine.here / "install"), "--into", str(machine.into)]
    log = machine.home.with_name("log")
    with (
        build.alone(),
        log.open("w") as said,
        subprocess.Popen(command, stdout=said, stderr=said) as waiting,
    ):
        try:
            wait_until(lambda: "another set-up is at work; waiting for it" in log.read_text())
            assert waiting.poll() is None
            assert not machine.into.exists()
        finally:
            waiting.kill()
