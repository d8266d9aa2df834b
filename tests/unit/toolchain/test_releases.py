"""Tools as their projects release them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.conftest import NOWHERE
from tests.unit.release_site import LabContext, path_of
from tests.unit.scripts import calls, write_script
from tests.unit.toolchain.fakes import Capture, builds, choose, fake_pulumi, released
from toolchain import build, install, layout, mode, releases
from toolchain.errors import SetupError
from toolchain.go import Go
from toolchain.tools import (
    CHART,
    ETCD_RELEASE,
    KUBERNETES_RELEASE,
    KWOK_RELEASE,
    PLUGINS,
    PULUMI_RELEASE,
    Release,
)

pytestmark = pytest.mark.usefixtures("checkout")


def unpublish(site: LabContext, *releases: Release) -> None:
    for release in releases:
        for file in release.files:
            site.files.pop(path_of(file.sums), None)


def test_what_is_released_is_downloaded_and_only_the_webhook_is_compiled(
    go: Go, published: LabContext, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4.1e9))
    install.install()
    assert builds(go) == 1
    for name in ("etcd", "kwok", "kwokctl", "kube-apiserver", "kube-scheduler"):
        assert released(name), name
    assert released("pulumi-language-python"), "of Pulumi's own release"
    assert released("pulumi-language-python-exec")
    assert (layout.TOOLS / "charts" / f"{CHART}-0.5.0" / "Chart.yaml").exists()
    said = capsys.readouterr().err
    assert "set-up: building dra-webhook 0.5.0 (1 of 2)" in said
    assert "downloading kube-apiserver 1.37.2 (3 of 4): 1 MB" in said


@pytest.mark.usefixtures("go", "published")
def test_a_downloaded_pulumi_gets_its_plugins_by_itself() -> None:
    install.install()
    installed = [c for c in calls(layout.BIN / "pulumi") if c.startswith("plugin")]
    assert installed == [
        f"plugin install resource {name} {version}" for name, (version, _) in PLUGINS.items()
    ]
    assert "AUTOMATIC_PLUGIN" not in (layout.TOOLS / "env").read_text()


def test_a_second_set_up_asks_no_server_and_does_nothing(
    go: Go, published: LabContext, checkout: Path, capsys: Capture
) -> None:
    install.install()
    capsys.readouterr()
    asked = list(published.asked)
    before = {path: path.lstat().st_mtime_ns for path in checkout.rglob("*")}
    install.install()
    assert capsys.readouterr() == ("", "")
    assert published.asked == asked
    assert {path: path.lstat().st_mtime_ns for path in checkout.rglob("*")} == before


def test_another_checkout_downloads_nothing_again(
    go: Go, published: LabContext, checkout: Path
) -> None:
    install.install()
    asked = list(published.asked)
    shutil.rmtree(checkout / ".tools")
    install.install()
    assert released("etcd")
    assert published.asked == asked


def test_the_order_is_path_then_releases_then_building(
    go: Go, published: LabContext, path: Path, capsys: Capture
) -> None:
    theirs = write_script(path / "etcd", "echo 'etcd Version: 3.6.2'; echo 'Go Version: go1.24.1'")
    unpublish(published, KWOK_RELEASE)
    install.install()
    assert (layout.BIN / "etcd").readlink() == theirs
    assert released("kube-apiserver")
    assert "stacks" in (layout.BIN / "kwok").read_text(), "built, by the Go of these tests"
    said = capsys.readouterr().err
    assert "set-up: taking etcd 3.6 from PATH\n" in said
    assert "set-up: building instead of downloading kwok 0.8.0 (" in said
    assert "kwok/releases/tags/v0.8.0: 404 Not Found)\n" in said
    assert "set-up: building takes about 3 min on two cores, and up to 15 GB of" in said
    assert path_of(ETCD_RELEASE.files[0].sums) not in published.asked


@pytest.mark.usefixtures("published")
def test_nothing_reachable_is_one_line_and_all_is_built(
    go: Go, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("DRA_WORKSHOP_DOWNLOADS", NOWHERE)
    install.install()
    failed = "kwok 0.8.0, etcd 3.6.14, kube 1.37.2, pulumi 3.259.0"
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith(f"set-up: building instead of downloading {failed} (127.0.0.1: ")
    assert first.endswith("Connection refused)")
    assert second.startswith("set-up: building takes about 18 min on two cores, and up to 15 GB")
    assert builds(go) == 9


@pytest.mark.usefixtures("go")
def test_what_was_built_is_not_downloaded_later(
    published: LabContext, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as offline:
        offline.setenv("DRA_WORKSHOP_DOWNLOADS", NOWHERE)
        install.install()
    install.install()
    shutil.rmtree(checkout / ".tools")
    install.install()
    assert published.asked == []


def test_a_wrong_checksum_is_a_warning_and_the_tool_is_built(
    go: Go, published: LabContext, capsys: Capture
) -> None:
    url = published.tamper(KUBERNETES_RELEASE)
    install.install()
    said = capsys.readouterr().err
    assert f"set-up: WARNING: {published.address}{path_of(url)}: its SHA-256 is" in said
    assert "set-up: building instead of downloading kube 1.37.2\n" in said
    assert builds(go) == 2
    assert build.built(KUBERNETES_RELEASE) is None
    assert b"released" not in (layout.BIN / "kube-apiserver").read_bytes()


@pytest.mark.parametrize("trouble", ["wrong checksum", "not there", "unreachable", "cut off"])
def test_forced_downloads_fail_with_a_remedy_instead_of_building(
    trouble: str, go: Go, published: LabContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(monkeypatch, "download")
    url = KUBERNETES_RELEASE.files[0].url
    if trouble == "wrong checksum":
        published.tamper(KUBERNETES_RELEASE)
    elif trouble == "not there":
        del published.files[path_of(url)]
    elif trouble == "cut off":
        published.cut[path_of(url)] = 100
    else:
        monkeypatch.setenv("DRA_WORKSHOP_DOWNLOADS", NOWHERE)
    with pytest.raises(SetupError) as failure:
        install.install()
    assert str(failure.value).endswith(f"\n  {releases.REMEDY}")
    where = "127.0.0.1: " if trouble == "unreachable" else path_of(url)
    assert where in str(failure.value)
    assert calls(go.program) == []
    assert not (layout.BIN / "kube-apiserver").exists()


def test_forced_downloads_take_nothing_from_path_and_replace_what_was_built(
    go: Go, published: LabContext, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = write_script(path / "etcd", "echo 'etcd Version: 3.6.14'")
    choose(monkeypatch, "build")
    install.install()
    plugin = layout.PULUMI_HOME / "plugins" / f"resource-command-v{PLUGINS['command'][0]}"
    (plugin / "built").touch()
    choose(monkeypatch, "download")
    install.install()
    assert not (plugin / "built").exists()
    for name in ("etcd", "kube-apiserver", "pulumi-language-python"):
        assert released(name), name
    assert calls(theirs) == []
    plugins = [c for c in calls(layout.BIN / "pulumi") if c.startswith("plugin")]
    assert ["--file" in call for call in plugins] == [True, True, False, False]

    choose(monkeypatch, "build")
    install.install()
    for name in ("etcd", "kube-apiserver", "pulumi-language-python"):
        assert not released(name), name


@pytest.mark.usefixtures("go", "published")
def test_a_pulumi_that_comes_later_does_not_take_the_place_of_what_was_downloaded(
    path: Path, capsys: Capture
) -> None:
    install.install()
    capsys.readouterr()
    theirs = fake_pulumi(path / "pulumi")
    install.install()
    assert capsys.readouterr().err == ""
    assert calls(theirs) == []


def test_forced_building_asks_no_server_and_replaces_what_was_downloaded(
    go: Go, published: LabContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    install.install()
    asked = list(published.asked)
    choose(monkeypatch, "build")
    install.install()
    assert published.asked == asked
    assert builds(go) == 9
    for name in ("etcd", "kube-apiserver", "pulumi-language-python"):
        assert not released(name), name
    plugins = [c for c in calls(layout.BIN / "pulumi") if c.startswith("plugin")]
    assert ["--file" in call for call in plugins] == [False, False, True, True]

    monkeypatch.delenv("DRA_WORKSHOP_TOOLCHAIN")
    install.install()
    assert not released("etcd"), "what was placed last is used from then on"


@pytest.mark.parametrize("chosen", ["", "auto"])
def test_auto_is_the_default(chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(monkeypatch, chosen)
    assert mode.read_mode() == mode.AUTO


def test_an_unknown_choice_is_refused_with_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choose(monkeypatch, "fetch")
    with pytest.raises(SetupError) as refusal:
        install.install()
    assert str(refusal.value) == ("TOOLCHAIN=fetch is not known; these are: auto, download, build")


@pytest.fixture
def no_plugins(published: LabContext, tmp_path: Path) -> None:
    """Pulumi's release cannot get its plugins."""
    pulumi = fake_pulumi(tmp_path / "without" / "pulumi", plugin="exit 1").read_bytes()
    contents = {name: f"released {name}".encode() for name in PULUMI_RELEASE.places}
    published.publish(PULUMI_RELEASE, contents | {"pulumi": pulumi})


@pytest.mark.usefixtures("no_plugins")
def test_a_downloaded_pulumi_that_gets_no_plugins_is_built_instead(go: Go, capsys: Capture) -> None:
    install.install()
    assert (
        "set-up: pulumi fetches its plugin command 1.2.1\n"
        "set-up: pulumi cannot get its plugin command; building our own\n"
    ) in capsys.readouterr().err
    assert not released("pulumi-language-python")
    assert released("etcd")
    assert "AUTOMATIC_PLUGIN" in (layout.TOOLS / "env").read_text()
    install.install()
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("no_plugins")
def test_forced_downloads_fail_if_pulumi_gets_no_plugins(
    go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(monkeypatch, "download")
    with pytest.raises(SetupError, match="cannot get its plugin command; check the network"):
        install.install()
    assert builds(go) == 0


@pytest.mark.usefixtures("published")
def test_what_is_not_released_for_a_system_is_built_there(
    go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert releases.find_released([KUBERNETES_RELEASE], mode.AUTO) == []
    with pytest.raises(SetupError, match=r"kube 1\.37\.2: not released for darwin, so it must be"):
        releases.find_released([KUBERNETES_RELEASE], mode.DOWNLOAD)
