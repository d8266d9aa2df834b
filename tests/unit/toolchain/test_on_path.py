"""Tools that the user has on PATH."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.release_site import LabContext
from tests.unit.scripts import calls, write_script
from tests.unit.toolchain.fakes import Capture, fake_pulumi, released
from toolchain import cache, install, layout, on_path, placed, plugins
from toolchain.go import Go
from toolchain.tools import (
    ETCD_RELEASE,
    KUBERNETES,
    KUBERNETES_RELEASE,
    KUBERNETES_VERSION,
    KWOK_RELEASE,
    PLUGINS,
    PULUMI_VERSION,
    GoTool,
)

pytestmark = pytest.mark.usefixtures("checkout")


# --- Pulumi that is on PATH ----------------------------------------------------------------


def test_a_pulumi_on_path_that_is_new_enough_is_used(go: Go, path: Path, capsys: Capture) -> None:
    theirs = fake_pulumi(path / "pulumi")
    install.install()
    assert not (layout.BIN / "pulumi").exists()
    assert not list(cache.folder().glob("pulumi*"))
    assert [call for call in calls(theirs) if call.startswith("plugin")] == [
        f"plugin install resource {name} {version}" for name, (version, _) in PLUGINS.items()
    ]
    assert "taking our own" not in capsys.readouterr().err
    assert "AUTOMATIC_PLUGIN" not in (layout.TOOLS / "env").read_text()


@pytest.mark.parametrize(
    ("version", "plugin", "told"),
    [
        ("v3.100.0", ":", f"pulumi 3.100.0 on PATH is older than {PULUMI_VERSION}"),
        (f"v{PULUMI_VERSION}", "exit 1", "on PATH cannot get its plugin command"),
        ("what?", ":", ""),
    ],
    ids=["too old", "no plugins", "no version"],
)
def test_a_pulumi_on_path_that_cannot_be_used_is_built_instead(
    go: Go, path: Path, version: str, plugin: str, told: str, capsys: Capture
) -> None:
    fake_pulumi(path / "pulumi", version=version, plugin=plugin)
    install.install()
    assert (layout.BIN / "pulumi").exists()
    assert told in capsys.readouterr().err


def test_a_second_set_up_does_not_ask_an_unusable_pulumi_again(
    go: Go, path: Path, capsys: Capture
) -> None:
    theirs = fake_pulumi(path / "pulumi", plugin="exit 1")
    install.install()
    capsys.readouterr()
    asked = len(calls(theirs))
    install.install()
    assert (capsys.readouterr().err, len(calls(theirs))) == ("", asked)


def test_a_pulumi_that_comes_later_does_not_take_the_place_of_what_was_built(
    go: Go, path: Path
) -> None:
    install.install()
    theirs = fake_pulumi(path / "pulumi")
    assert on_path.find_pulumi() is None
    assert calls(theirs) == []


def test_a_pulumi_on_path_that_hangs_over_its_plugins_is_built_instead(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    fake_pulumi(path / "pulumi", plugin="exec sleep 30")
    monkeypatch.setattr(plugins, "FETCH_SECONDS", 0.2)
    assert on_path.find_pulumi() is None
    said = capsys.readouterr().err
    assert "on PATH cannot get its plugin command; taking" in said
    assert said.count("fetches its plugin") == 1, "after one it is not asked for more"


def test_all_is_built_when_the_user_asks_for_it(
    go: Go, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = fake_pulumi(path / "pulumi")
    monkeypatch.setenv("DRA_WORKSHOP_TOOLCHAIN", "build")
    install.install()
    assert (layout.BIN / "pulumi").exists()
    assert calls(theirs) == []


def test_our_own_pulumi_on_path_is_not_taken_for_the_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = fake_pulumi(layout.BIN / "pulumi")
    monkeypatch.setenv("PATH", str(layout.BIN))
    assert on_path.find_pulumi() is None
    assert calls(own) == []


# --- other tools on PATH ----------------------------------------------------------


def kube_on_path(path: Path, version: str = KUBERNETES_VERSION) -> None:
    for name in KUBERNETES_RELEASE.places:
        write_script(path / name, f"echo Kubernetes v{version}")


@pytest.fixture
def placeable(checkout: Path) -> None:
    layout.BIN.mkdir(parents=True)


@pytest.mark.usefixtures("placeable")
def test_programs_on_path_of_the_wanted_version_are_linked_once(
    path: Path, capsys: Capture
) -> None:
    kube_on_path(path)
    assert on_path.link_programs(KUBERNETES_RELEASE)
    assert capsys.readouterr().err == (
        "set-up: taking kube-apiserver, kube-controller-manager, kube-scheduler 1.37.2 from PATH\n"
    )
    assert on_path.link_programs(KUBERNETES_RELEASE)
    assert capsys.readouterr().err == ""
    assert len(calls(path / "kube-apiserver")) == 1
    (layout.BIN / "kube-scheduler").unlink()
    assert on_path.link_programs(KUBERNETES_RELEASE)
    assert (layout.BIN / "kube-scheduler").exists()


@pytest.mark.usefixtures("go")
def test_programs_on_path_that_were_upgraded_since_are_had_in_another_way(
    published: LabContext, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube_on_path(path)
    install.install()
    kube_on_path(path, "1.37.0")
    install.install()
    assert all(released(name) for name in KUBERNETES_RELEASE.places)


@pytest.mark.usefixtures("placeable")
@pytest.mark.parametrize("version", ["1.36.3", "1.37.20", "1.37.2-rc.1", "11.37.2", "1.35.0"])
def test_programs_on_path_of_another_version_are_left_alone(version: str, path: Path) -> None:
    kube_on_path(path, version)
    assert not on_path.link_programs(KUBERNETES_RELEASE)
    assert list(layout.BIN.iterdir()) == []


@pytest.mark.usefixtures("placeable")
@pytest.mark.parametrize(
    ("version", "taken"), [("3.6.0", True), ("3.6.99", True), ("3.5.1", False), ("3.60.1", False)]
)
def test_of_etcd_on_path_any_3_6_will_do(version: str, taken: bool, path: Path) -> None:
    write_script(path / "etcd", f"echo etcd Version: {version}; echo Git SHA: 1.2.3")
    assert on_path.link_programs(ETCD_RELEASE) == taken


@pytest.mark.usefixtures("placeable")
def test_half_a_tool_on_path_is_left_alone(path: Path) -> None:
    write_script(path / "kwok", "echo kwok version v0.8.0")
    assert not on_path.link_programs(KWOK_RELEASE)
    write_script(path / "kwokctl", "echo kwokctl version v0.7.0")
    assert not on_path.link_programs(KWOK_RELEASE)
    write_script(path / "kwokctl", "echo kwokctl version v0.8.0")
    assert on_path.link_programs(KWOK_RELEASE)


@pytest.mark.usefixtures("placeable")
def test_a_program_on_path_that_hangs_or_cannot_run_is_left_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_path, "VERSION_SECONDS", 0.2)
    write_script(path / "etcd", "exec sleep 30")
    assert not on_path.link_programs(ETCD_RELEASE)
    (path / "etcd").write_bytes(b"\x7fELF of another machine")
    assert not on_path.link_programs(ETCD_RELEASE)


@pytest.mark.usefixtures("placeable")
def test_a_program_is_asked_for_its_version_as_if_outside_a_cluster(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    write_script(path / "etcd", '[ -z "$KUBERNETES_SERVICE_HOST" ] && echo 3.6.14')
    assert on_path.link_programs(ETCD_RELEASE)


@pytest.mark.usefixtures("go")
def test_programs_that_vanish_from_path_are_had_in_another_way(
    published: LabContext, path: Path
) -> None:
    kube_on_path(path)
    install.install()
    (path / "kube-scheduler").unlink()
    install.install()
    assert all(released(name) for name in KUBERNETES_RELEASE.places)


def test_our_own_programs_on_path_are_not_taken_for_the_users(
    tool: GoTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(layout.BIN))
    kube_on_path(layout.BIN)
    assert not on_path.link_programs(KUBERNETES_RELEASE)


def test_programs_on_path_do_not_take_the_place_of_what_was_built(go: Go, path: Path) -> None:
    install.install()
    kube_on_path(path)
    install.install()
    assert not (layout.BIN / "kube-apiserver").is_symlink()
    assert placed.read_record()[KUBERNETES.name] == KUBERNETES.digest
