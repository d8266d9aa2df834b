"""Filling `.tools/`, with a `go` and a `pulumi` that are shell scripts."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.conftest import NOWHERE
from tests.unit.release_site import LabContext, path_of
from tests.unit.test_build import (
    calls,
    fake_go,
    make_tool,
    partial_folders,
    wait_until,
    write_script,
)
from toolchain import assemble, build, cache, download, host, images, install, kind
from toolchain.errors import SetupError
from toolchain.go import Go
from toolchain.images import IMAGES, KIND_IMAGES, Image
from toolchain.tools import (
    CHART,
    CNI_RELEASE,
    ETCD_RELEASE,
    HOST_RELEASES,
    KIND,
    KUBELET,
    KUBERNETES,
    KUBERNETES_RELEASE,
    KUBERNETES_VERSION,
    KWOK_RELEASE,
    PLUGINS,
    PULUMI_RELEASE,
    PULUMI_VERSION,
    RELEASES,
    GoTool,
    Release,
)

Capture = pytest.CaptureFixture[str]


PLACE_PLUGIN = 'mkdir -p "$PULUMI_HOME/plugins/resource-$4-v$5"'


def fake_pulumi(
    path: Path, *, version: str = f"v{PULUMI_VERSION}", plugin: str = PLACE_PLUGIN
) -> Path:
    """A Pulumi that can say its version, install a plugin and make a stack."""
    stacks = ".state/.pulumi/stacks/dra-workshop"
    body = f"""case "$1 $2" in
version*) echo {version} ;;
plugin*) {plugin} ;;
stack*) mkdir -p {stacks}; touch {stacks}/$3.json ;;
esac"""
    return write_script(path, body)


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH. No pip either, so that nothing can ever reach the network."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.delenv("DRA_WORKSHOP_TOOLCHAIN", raising=False)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1e12))
    return tmp_path / "path"


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with two stacks, and nothing set up."""
    root = tmp_path / "checkout"
    root.mkdir()
    for stack in ("dev", "module0"):
        (root / f"Pulumi.{stack}.yaml").touch()
    monkeypatch.setattr(install, "ROOT", root)
    monkeypatch.setattr(install, "TOOLS", root / ".tools")
    monkeypatch.setattr(install, "BIN", root / ".tools" / "bin")
    monkeypatch.setattr(install, "PULUMI_HOME", root / ".tools" / "pulumi")
    write_script(tmp_path / "scripts" / "kubectl", "")
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "scripts"))
    return root


@pytest.fixture
def go(path: Path, tmp_path: Path) -> Go:
    """The Go on PATH; whatever it builds is a copy of a Pulumi."""
    source = tmp_path / "source"
    chart = source / "deployments" / "helm" / CHART
    chart.mkdir(parents=True)
    (chart / "Chart.yaml").write_text(f"name: {CHART}\n")
    write_script(source / "python" / "cmd" / "pulumi-language-python-exec", "")
    pulumi = fake_pulumi(tmp_path / "built" / "pulumi")
    return fake_go(path, compile_=f'cp {pulumi} "$2"', module=f"""echo '{{"Dir": "{source}"}}'""")


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GoTool:
    (install.BIN).mkdir(parents=True)
    return make_tool(tmp_path / "modules", monkeypatch)


def builds(go: Go) -> int:
    return sum(call.startswith("build ") for call in calls(go.program))


# --- the whole -----------------------------------------------------------------------------------


def test_a_first_set_up_places_every_tool_and_makes_the_stacks(
    go: Go, checkout: Path, capsys: Capture
) -> None:
    install.install()
    tools = checkout / ".tools"
    assert {p.name for p in (tools / "bin").iterdir() if not p.name.endswith(".calls")} == {
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubectl",
        "kwok",
        "kwokctl",
        "pulumi",
        "pulumi-language-python",
        "pulumi-language-python-exec",
    }
    assert not (tools / "bin" / "pulumi").is_symlink(), "pulumi looks beside its resolved path"
    for version in ("0.4.1", "0.5.0"):
        assert (tools / "charts" / f"{CHART}-{version}" / "Chart.yaml").exists()
    made = checkout / ".state" / ".pulumi" / "stacks" / "dra-workshop"
    assert {path.name for path in made.iterdir()} == {"dev.json", "module0.json"}
    installed = [call for call in calls(tools / "bin" / "pulumi") if call.startswith("plugin")]
    assert [call.split()[2:5] for call in installed] == [
        ["resource", name, version] for name, (version, _) in PLUGINS.items()
    ]
    assert capsys.readouterr().err.splitlines()[-1].startswith("set-up: ready (")


def test_a_second_set_up_does_nothing_and_says_nothing(
    go: Go, checkout: Path, capsys: Capture
) -> None:
    install.install()
    capsys.readouterr()
    before = {path: path.lstat().st_mtime_ns for path in checkout.rglob("*")}
    compiled = calls(go.program)
    install.install()
    assert capsys.readouterr() == ("", "")
    assert {path: path.lstat().st_mtime_ns for path in checkout.rglob("*")} == before
    assert calls(go.program) == compiled


@pytest.mark.usefixtures("go")
def test_sources_and_compiled_packages_do_not_stay_in_the_cache() -> None:
    (cache.folder() / "go-build").mkdir(parents=True)
    install.install()
    assert not (cache.folder() / "go-build").exists()


@pytest.mark.usefixtures("go")
def test_the_state_of_the_stacks_is_for_its_owner_only_also_an_older_one(checkout: Path) -> None:
    (checkout / ".state").mkdir(mode=0o755)
    install.install()
    assert (checkout / ".state").stat().st_mode & 0o777 == 0o700


def test_another_checkout_builds_nothing_again(go: Go, checkout: Path) -> None:
    install.install()
    compiled = builds(go)
    shutil.rmtree(checkout / ".tools")
    install.install()
    assert (checkout / ".tools" / "bin" / "etcd").exists()
    assert builds(go) == compiled


def test_a_newer_go_builds_nothing_again(go: Go, path: Path) -> None:
    install.install()
    newer = fake_go(path, version="go1.27.9")
    compiled = builds(newer)
    install.install()
    assert builds(newer) == compiled


# --- building ------------------------------------------------------------------------------------


def test_too_little_room_is_refused_before_anything_is_built(
    tool: GoTool, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3.2e9))
    with pytest.raises(SetupError, match=r"takes 15 GB and .* has 3\.2 GB free"):
        install._build([tool])
    assert calls(go.program) == []


def test_room_that_an_interrupted_build_has_taken_is_not_asked_for_again(
    tool: GoTool, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cache.folder() / "go-build").mkdir(parents=True)
    write_megabytes(cache.folder() / "go-build" / "package", 12)
    monkeypatch.setattr(cache, "NEEDED_GB", 0.015)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=8e6))
    install._build([tool])
    assert build.built(tool) is not None


def test_a_build_goes_on_where_a_failed_one_stopped(
    tool: GoTool, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = make_tool(tmp_path / "more", monkeypatch, "broken")
    shutil.copytree(tmp_path / "modules", tmp_path / "more", dirs_exist_ok=True)
    fails = 'mkdir -p "$GOCACHE"; case "$2" in */broken) exit 1 ;; *) echo program > "$2" ;; esac'
    go = fake_go(path, compile_=fails)
    with pytest.raises(SetupError, match="building broken"):
        install._build([tool, broken])
    assert (cache.folder() / "go-build").is_dir(), "what was compiled is kept"

    fake_go(path)
    install._build([tool, broken])
    assert builds(go) == 3, "example, broken, broken again"
    assert build.built(broken) is not None
    assert partial_folders() == []


def build_while_another_waits(tool: GoTool, go: Go, capsys: Capture) -> Future[None]:
    """Build `tool` while a second set-up of the same user wants it too."""
    said: list[str] = []

    def second_waits() -> bool:
        said.append(capsys.readouterr().err)
        return "another set-up is building the same tools; waiting for it" in "".join(said)

    with ThreadPoolExecutor() as second, build.alone():
        waiting = second.submit(install._build, [tool])
        wait_until(second_waits)
        build.build(tool, go, "1 of 1")
    return waiting


def test_of_two_builders_the_second_waits_and_builds_nothing(
    tool: GoTool, go: Go, capsys: Capture
) -> None:
    build_while_another_waits(tool, go, capsys).result()
    assert builds(go) == 1


def test_a_builder_that_waited_needs_no_room_for_what_the_first_has_built(
    tool: GoTool, go: Go, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3.2e9))
    build_while_another_waits(tool, go, capsys).result()


# --- placing -------------------------------------------------------------------------------------


def test_a_tool_is_placed_by_hard_link(tool: GoTool, go: Go) -> None:
    install._build([tool])
    assert install._place(tool)
    assert (install.BIN / "example").samefile(cache.folder() / tool.cache_name / "example")
    assert not (install.BIN / "example").is_symlink()
    assert not install._place(tool), "a second time there is nothing to do"


def test_a_tool_is_copied_where_a_link_is_impossible(
    tool: GoTool, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another_file_system(*_: object) -> None:
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", another_file_system)
    install._build([tool])
    install._place(tool)
    cached = cache.folder() / tool.cache_name / "example"
    assert not (install.BIN / "example").samefile(cached)
    assert (install.BIN / "example").read_bytes() == cached.read_bytes()
    assert os.access(install.BIN / "example", os.X_OK)


def test_a_changed_tool_takes_the_place_of_the_old_one(tool: GoTool, go: Go, path: Path) -> None:
    install._build([tool])
    install._place(tool)
    (tool.folder / "go.mod").write_text("module changed\n")
    fake_go(path, compile_='echo new > "$2"')
    install._build([tool])
    assert install._place(tool)
    assert (install.BIN / "example").read_text() == "new\n"


def test_a_program_that_was_deleted_is_placed_again(tool: GoTool, go: Go) -> None:
    install._build([tool])
    install._place(tool)
    (install.BIN / "example").unlink()
    assert install._place(tool)
    assert (install.BIN / "example").exists()


def test_a_program_that_is_nowhere_any_more_has_a_remedy(tool: GoTool, go: Go) -> None:
    install._build([tool])
    install._place(tool)
    (install.BIN / "example").unlink()
    shutil.rmtree(cache.folder())
    with pytest.raises(SetupError, match=r"example is neither .*; run: make clean setup"):
        install._place(tool)


@pytest.mark.usefixtures("go")
def test_a_plugin_that_was_deleted_is_placed_again() -> None:
    install.install()
    plugins = install.PULUMI_HOME / "plugins"
    placed = {path.name for path in plugins.iterdir()}
    assert placed == {f"resource-{name}-v{version}" for name, (version, _) in PLUGINS.items()}
    shutil.rmtree(plugins / f"resource-command-v{PLUGINS['command'][0]}")
    assert [install._place_plugin(plugin) for plugin in PLUGINS] == [True, False]
    assert {path.name for path in plugins.iterdir()} == placed


def test_a_missing_kubectl_has_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "scripts" / "kubectl").unlink()
    with pytest.raises(SetupError, match="kubectl is missing; run: make clean setup"):
        install._place_kubectl()


# --- Pulumi that is already there ----------------------------------------------------------------


def test_a_pulumi_on_path_that_is_new_enough_is_used(go: Go, path: Path, capsys: Capture) -> None:
    theirs = fake_pulumi(path / "pulumi")
    install.install()
    assert not (install.BIN / "pulumi").exists()
    assert not list(cache.folder().glob("pulumi*"))
    assert [call for call in calls(theirs) if call.startswith("plugin")] == [
        f"plugin install resource {name} {version}" for name, (version, _) in PLUGINS.items()
    ]
    assert "taking our own" not in capsys.readouterr().err
    assert "AUTOMATIC_PLUGIN" not in (install.TOOLS / "env").read_text()


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
    assert (install.BIN / "pulumi").exists()
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
    assert install._usable_pulumi() is None
    assert calls(theirs) == []


def test_a_pulumi_on_path_that_hangs_over_its_plugins_is_built_instead(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    fake_pulumi(path / "pulumi", plugin="exec sleep 30")
    monkeypatch.setattr(install, "PLUGIN_SECONDS", 0.2)
    assert install._usable_pulumi() is None
    said = capsys.readouterr().err
    assert "on PATH cannot get its plugin command; taking" in said
    assert said.count("fetches its plugin") == 1, "after one it is not asked for more"


def test_all_is_built_when_the_user_asks_for_it(
    go: Go, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = fake_pulumi(path / "pulumi")
    monkeypatch.setenv("DRA_WORKSHOP_TOOLCHAIN", "build")
    install.install()
    assert (install.BIN / "pulumi").exists()
    assert calls(theirs) == []


def test_our_own_pulumi_on_path_is_not_taken_for_the_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = fake_pulumi(install.BIN / "pulumi")
    monkeypatch.setenv("PATH", str(install.BIN))
    assert install._usable_pulumi() is None
    assert calls(own) == []


def test_a_pulumi_that_fails_says_what_it_was_asked_and_why(path: Path) -> None:
    write_script(path / "pulumi", "echo 'error: no such stack' >&2; exit 255")
    with pytest.raises(SetupError, match="pulumi stack init dev failed: error: no such stack"):
        install._pulumi("stack", "init", "dev")


# --- releases ------------------------------------------------------------------------------------


@pytest.fixture
def releases(site: LabContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabContext:
    """Every release is published; each program is a text that says so, but for a Pulumi."""
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(sys, "platform", "linux")
    pulumi = fake_pulumi(tmp_path / "released" / "pulumi").read_bytes()
    for release in RELEASES:
        contents = {name: f"released {name}".encode() for name in release.places}
        site.publish(release, contents | {"pulumi": pulumi})
    return site


def released(name: str) -> bool:
    """Whether a placed program is one that was downloaded."""
    return (install.BIN / name).read_text(errors="replace") == f"released {name}"


def unpublish(site: LabContext, *releases: Release) -> None:
    for release in releases:
        for file in release.files:
            site.files.pop(path_of(file.sums), None)


def choose(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setenv("DRA_WORKSHOP_TOOLCHAIN", mode)


def test_what_is_released_is_downloaded_and_nothing_is_compiled(
    go: Go, releases: LabContext, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1e9))
    install.install()
    assert builds(go) == 0
    for name in ("etcd", "kwok", "kwokctl", "kube-apiserver", "kube-scheduler"):
        assert released(name), name
    assert released("pulumi-language-python"), "of Pulumi's own release"
    assert released("pulumi-language-python-exec")
    assert (install.TOOLS / "charts" / f"{CHART}-0.5.0" / "Chart.yaml").exists()
    said = capsys.readouterr().err
    assert "building" not in said
    assert "downloading kube-apiserver 1.36.4 (3 of 4): 1 MB" in said


@pytest.mark.usefixtures("go", "releases")
def test_a_downloaded_pulumi_gets_its_plugins_by_itself() -> None:
    install.install()
    installed = [c for c in calls(install.BIN / "pulumi") if c.startswith("plugin")]
    assert installed == [
        f"plugin install resource {name} {version}" for name, (version, _) in PLUGINS.items()
    ]
    assert "AUTOMATIC_PLUGIN" not in (install.TOOLS / "env").read_text()


def test_a_second_set_up_asks_no_server_and_does_nothing(
    go: Go, releases: LabContext, checkout: Path, capsys: Capture
) -> None:
    install.install()
    capsys.readouterr()
    asked = list(releases.asked)
    before = {path: path.lstat().st_mtime_ns for path in checkout.rglob("*")}
    install.install()
    assert capsys.readouterr() == ("", "")
    assert releases.asked == asked
    assert {path: path.lstat().st_mtime_ns for path in checkout.rglob("*")} == before


def test_another_checkout_downloads_nothing_again(
    go: Go, releases: LabContext, checkout: Path
) -> None:
    install.install()
    asked = list(releases.asked)
    shutil.rmtree(checkout / ".tools")
    install.install()
    assert released("etcd")
    assert releases.asked == asked


def test_the_order_is_path_then_releases_then_building(
    go: Go, releases: LabContext, path: Path, capsys: Capture
) -> None:
    theirs = write_script(path / "etcd", "echo 'etcd Version: 3.6.2'; echo 'Go Version: go1.24.1'")
    unpublish(releases, KWOK_RELEASE)
    install.install()
    assert (install.BIN / "etcd").readlink() == theirs
    assert released("kube-apiserver")
    assert "stacks" in (install.BIN / "kwok").read_text(), "built, by the Go of these tests"
    said = capsys.readouterr().err
    assert "set-up: taking etcd 3.6 from PATH\n" in said
    assert "set-up: building instead of downloading kwok 0.8.0 (" in said
    assert "kwok/releases/tags/v0.8.0: 404 Not Found)\n" in said
    assert "set-up: building takes about 2 min on two cores, and up to 15 GB of" in said
    assert path_of(ETCD_RELEASE.files[0].sums) not in releases.asked


@pytest.mark.usefixtures("releases")
def test_nothing_reachable_is_one_line_and_all_is_built(
    go: Go, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("DRA_WORKSHOP_DOWNLOADS", NOWHERE)
    install.install()
    failed = "kwok 0.8.0, etcd 3.6.14, kube 1.36.4, pulumi 3.259.0"
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith(f"set-up: building instead of downloading {failed} (127.0.0.1: ")
    assert first.endswith("Connection refused)")
    assert second.startswith("set-up: building takes about 17 min on two cores, and up to 15 GB")
    assert builds(go) == 8


@pytest.mark.usefixtures("go")
def test_what_was_built_is_not_downloaded_later(
    releases: LabContext, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as offline:
        offline.setenv("DRA_WORKSHOP_DOWNLOADS", NOWHERE)
        install.install()
    install.install()
    shutil.rmtree(checkout / ".tools")
    install.install()
    assert releases.asked == []


def test_a_wrong_checksum_is_a_warning_and_the_tool_is_built(
    go: Go, releases: LabContext, capsys: Capture
) -> None:
    url = releases.tamper(KUBERNETES_RELEASE)
    install.install()
    said = capsys.readouterr().err
    assert f"set-up: WARNING: {releases.address}{path_of(url)}: its SHA-256 is" in said
    assert "set-up: building instead of downloading kube 1.36.4\n" in said
    assert builds(go) == 1
    assert build.built(KUBERNETES_RELEASE) is None
    assert b"released" not in (install.BIN / "kube-apiserver").read_bytes()


@pytest.mark.parametrize("trouble", ["wrong checksum", "not there", "unreachable", "cut off"])
def test_forced_downloads_fail_with_a_remedy_instead_of_building(
    trouble: str, go: Go, releases: LabContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(monkeypatch, "download")
    url = KUBERNETES_RELEASE.files[0].url
    if trouble == "wrong checksum":
        releases.tamper(KUBERNETES_RELEASE)
    elif trouble == "not there":
        del releases.files[path_of(url)]
    elif trouble == "cut off":
        releases.cut[path_of(url)] = 100
    else:
        monkeypatch.setenv("DRA_WORKSHOP_DOWNLOADS", NOWHERE)
    with pytest.raises(SetupError) as failure:
        install.install()
    assert str(failure.value).endswith(f"\n  {install.REMEDY}")
    where = "127.0.0.1: " if trouble == "unreachable" else path_of(url)
    assert where in str(failure.value)
    assert calls(go.program) == []
    assert not (install.BIN / "kube-apiserver").exists()


def test_forced_downloads_take_nothing_from_path_and_replace_what_was_built(
    go: Go, releases: LabContext, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = write_script(path / "etcd", "echo 'etcd Version: 3.6.14'")
    choose(monkeypatch, "build")
    install.install()
    plugin = install.PULUMI_HOME / "plugins" / f"resource-command-v{PLUGINS['command'][0]}"
    (plugin / "built").touch()
    choose(monkeypatch, "download")
    install.install()
    assert not (plugin / "built").exists()
    for name in ("etcd", "kube-apiserver", "pulumi-language-python"):
        assert released(name), name
    assert calls(theirs) == []
    plugins = [c for c in calls(install.BIN / "pulumi") if c.startswith("plugin")]
    assert ["--file" in call for call in plugins] == [True, True, False, False]

    choose(monkeypatch, "build")
    install.install()
    for name in ("etcd", "kube-apiserver", "pulumi-language-python"):
        assert not released(name), name


@pytest.mark.usefixtures("go", "releases")
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
    go: Go, releases: LabContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    install.install()
    asked = list(releases.asked)
    choose(monkeypatch, "build")
    install.install()
    assert releases.asked == asked
    assert builds(go) == 8
    for name in ("etcd", "kube-apiserver", "pulumi-language-python"):
        assert not released(name), name
    plugins = [c for c in calls(install.BIN / "pulumi") if c.startswith("plugin")]
    assert ["--file" in call for call in plugins] == [False, False, True, True]

    monkeypatch.delenv("DRA_WORKSHOP_TOOLCHAIN")
    install.install()
    assert not released("etcd"), "what was placed last is used from then on"


@pytest.mark.parametrize("mode", ["", "auto"])
def test_auto_is_the_default(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(monkeypatch, mode)
    assert install._mode() == install.AUTO


def test_an_unknown_choice_is_refused_with_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choose(monkeypatch, "fetch")
    with pytest.raises(SetupError) as refusal:
        install.install()
    assert str(refusal.value) == ("TOOLCHAIN=fetch is not known; these are: auto, download, build")


@pytest.fixture
def no_plugins(releases: LabContext, tmp_path: Path) -> None:
    """Pulumi's release cannot get its plugins."""
    pulumi = fake_pulumi(tmp_path / "without" / "pulumi", plugin="exit 1").read_bytes()
    contents = {name: f"released {name}".encode() for name in PULUMI_RELEASE.places}
    releases.publish(PULUMI_RELEASE, contents | {"pulumi": pulumi})


@pytest.mark.usefixtures("no_plugins")
def test_a_downloaded_pulumi_that_gets_no_plugins_is_built_instead(go: Go, capsys: Capture) -> None:
    install.install()
    assert (
        "set-up: pulumi fetches its plugin command 1.2.1\n"
        "set-up: pulumi cannot get its plugin command; building our own\n"
    ) in capsys.readouterr().err
    assert not released("pulumi-language-python")
    assert released("etcd")
    assert "AUTOMATIC_PLUGIN" in (install.TOOLS / "env").read_text()
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


@pytest.mark.usefixtures("releases")
def test_what_is_not_released_for_a_system_is_built_there(
    go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert install._released([KUBERNETES_RELEASE], install.AUTO) == []
    with pytest.raises(SetupError, match=r"kube 1\.36\.4: not released for darwin, so it must be"):
        install._released([KUBERNETES_RELEASE], install.DOWNLOAD)


# --- other tools that are already there ----------------------------------------------------------


def kube_on_path(path: Path, version: str = KUBERNETES_VERSION) -> None:
    for name in KUBERNETES_RELEASE.places:
        write_script(path / name, f"echo Kubernetes v{version}")


@pytest.fixture
def placeable(path: Path) -> None:
    install.BIN.mkdir(parents=True)


@pytest.mark.usefixtures("placeable")
def test_programs_on_path_of_the_wanted_version_are_linked_once(
    path: Path, capsys: Capture
) -> None:
    kube_on_path(path)
    assert install._linked(KUBERNETES_RELEASE)
    assert capsys.readouterr().err == (
        "set-up: taking kube-apiserver, kube-controller-manager, kube-scheduler 1.36.4 from PATH\n"
    )
    assert install._linked(KUBERNETES_RELEASE)
    assert capsys.readouterr().err == ""
    assert len(calls(path / "kube-apiserver")) == 1
    (install.BIN / "kube-scheduler").unlink()
    assert install._linked(KUBERNETES_RELEASE)
    assert (install.BIN / "kube-scheduler").exists()


@pytest.mark.usefixtures("go")
def test_programs_on_path_that_were_upgraded_since_are_had_in_another_way(
    releases: LabContext, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube_on_path(path)
    install.install()
    kube_on_path(path, "1.37.0")
    install.install()
    assert all(released(name) for name in KUBERNETES_RELEASE.places)


@pytest.mark.usefixtures("placeable")
@pytest.mark.parametrize("version", ["1.36.3", "1.36.40", "1.36.4-rc.1", "11.36.4", "1.35.0"])
def test_programs_on_path_of_another_version_are_left_alone(version: str, path: Path) -> None:
    kube_on_path(path, version)
    assert not install._linked(KUBERNETES_RELEASE)
    assert list(install.BIN.iterdir()) == []


@pytest.mark.usefixtures("placeable")
@pytest.mark.parametrize(
    ("version", "taken"), [("3.6.0", True), ("3.6.99", True), ("3.5.1", False), ("3.60.1", False)]
)
def test_of_etcd_on_path_any_3_6_will_do(version: str, taken: bool, path: Path) -> None:
    write_script(path / "etcd", f"echo etcd Version: {version}; echo Git SHA: 1.2.3")
    assert install._linked(ETCD_RELEASE) == taken


@pytest.mark.usefixtures("placeable")
def test_half_a_tool_on_path_is_left_alone(path: Path) -> None:
    write_script(path / "kwok", "echo kwok version v0.8.0")
    assert not install._linked(KWOK_RELEASE)
    write_script(path / "kwokctl", "echo kwokctl version v0.7.0")
    assert not install._linked(KWOK_RELEASE)
    write_script(path / "kwokctl", "echo kwokctl version v0.8.0")
    assert install._linked(KWOK_RELEASE)


@pytest.mark.usefixtures("placeable")
def test_a_program_on_path_that_hangs_or_cannot_run_is_left_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "VERSION_SECONDS", 0.2)
    write_script(path / "etcd", "exec sleep 30")
    assert not install._linked(ETCD_RELEASE)
    (path / "etcd").write_bytes(b"\x7fELF of another machine")
    assert not install._linked(ETCD_RELEASE)


@pytest.mark.usefixtures("placeable")
def test_a_program_is_asked_for_its_version_as_if_outside_a_cluster(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    write_script(path / "etcd", '[ -z "$KUBERNETES_SERVICE_HOST" ] && echo 3.6.14')
    assert install._linked(ETCD_RELEASE)


@pytest.mark.usefixtures("go")
def test_programs_that_vanish_from_path_are_had_in_another_way(
    releases: LabContext, path: Path
) -> None:
    kube_on_path(path)
    install.install()
    (path / "kube-scheduler").unlink()
    install.install()
    assert all(released(name) for name in KUBERNETES_RELEASE.places)


def test_our_own_programs_on_path_are_not_taken_for_the_users(
    tool: GoTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(install.BIN))
    kube_on_path(install.BIN)
    assert not install._linked(KUBERNETES_RELEASE)


def test_programs_on_path_do_not_take_the_place_of_what_was_built(go: Go, path: Path) -> None:
    install.install()
    kube_on_path(path)
    install.install()
    assert not (install.BIN / "kube-apiserver").is_symlink()
    assert install._placed()[KUBERNETES.name] == KUBERNETES.digest


# --- a host node ---------------------------------------------------------------------------------


@pytest.fixture
def assembled(go: Go, path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Image]:
    """What was assembled. Everything for C is there, and sources have what images take of them."""
    write_script(path / "gcc", "")
    write_script(path / "pkg-config", "")
    source = path.parent / "source"
    write_script(source / "hack" / "kubelet-plugin-prestart.sh", "")
    (source / "templates").mkdir()
    chart = source / "deployments" / "helm" / "dra-example-driver"
    chart.mkdir()
    (chart / "Chart.yaml").touch()
    (source / "LICENSE").touch()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("CC", raising=False)
    noted: list[Image] = []

    def assemble_(image: Image) -> None:
        assert all(build.built(tool) for tool in image.made_of), "built before"
        with cache.filled(image.cache_name, {}) as folder:
            (folder / image.file).write_text(image.reference)
        noted.append(image)

    monkeypatch.setattr(assemble, "assemble", assemble_)
    return noted


def test_a_host_node_has_its_tools_and_images_beside_the_ordinary_ones(
    assembled: list[Image],
) -> None:
    install.install(host_node=True)
    assert host.missing(install.TOOLS) == []
    assert {path.name for path in (install.TOOLS / "cni").iterdir()} == {
        *("bridge", "host-local", "loopback")
    }
    assert {path.name for path in (install.TOOLS / "images").iterdir()} == {
        *("dra-driver.tar", "pause.tar", "workload.tar")
    }
    for name in (
        *("kubelet", "containerd", "containerd-shim-runc-v2", "ctr", "runc", "nvidia-ctk"),
        *("nvidia-cdi-hook", "node-proxy", "kube-apiserver", "pulumi"),
    ):
        assert (install.BIN / name).exists()
    for name in ("pause", "gpu-kubelet-plugin"):
        assert not (install.BIN / name).exists(), "it goes into an image only"
    assert assembled == list(IMAGES)


def test_ordinary_set_up_makes_nothing_of_a_host_node(assembled: list[Image]) -> None:
    install.install()
    assert host.missing(install.TOOLS) == [
        f"{tool.into}/{name}" for tool in host.PLACED for name in tool.places
    ]
    assert assembled == []


def test_a_second_set_up_of_a_host_node_does_nothing_and_says_nothing(
    assembled: list[Image], go: Go, checkout: Path, capsys: Capture
) -> None:
    install.install(host_node=True)
    capsys.readouterr()
    before = {path: path.lstat().st_mtime_ns for path in checkout.rglob("*")}
    compiled = calls(go.program)
    install.install(host_node=True)
    install.install()
    assert capsys.readouterr() == ("", "")
    assert {path: path.lstat().st_mtime_ns for path in checkout.rglob("*")} == before
    assert (calls(go.program), len(assembled)) == (compiled, len(IMAGES))


def test_another_checkout_takes_the_images_from_the_cache(
    assembled: list[Image], checkout: Path
) -> None:
    install.install(host_node=True)
    shutil.rmtree(checkout / ".tools")
    install.install(host_node=True)
    assert host.missing(install.TOOLS) == []
    assert len(assembled) == len(IMAGES)


def test_what_is_placed_stays_when_the_cache_is_gone(assembled: list[Image], go: Go) -> None:
    install.install(host_node=True)
    compiled = builds(go)
    shutil.rmtree(cache.folder())
    install.install(host_node=True)
    assert (builds(go), len(assembled)) == (compiled, len(IMAGES))


def test_what_goes_into_a_changed_image_is_built_again_if_only_the_checkout_has_it(
    assembled: list[Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install.install(host_node=True)
    shutil.rmtree(cache.folder())
    (tmp_path / "changed.py").touch()
    monkeypatch.setattr(images, "MAKERS", (tmp_path / "changed.py",))
    install.install(host_node=True)
    assert len(assembled) == 2 * len(IMAGES)
    assert host.missing(install.TOOLS) == []


# --- kind ----------------------------------------------------------------------------------------


def test_set_up_for_kind_places_kind_the_example_driver_and_the_images_of_pods(
    assembled: list[Image], path: Path
) -> None:
    (path / "gcc").unlink()
    (path / "pkg-config").unlink()
    install.install(kind=True)
    assert kind.missing(install.TOOLS) == []
    assert (install.BIN / "kind").exists()
    chart = install.TOOLS / "charts" / "dra-example-driver-0.4.0"
    assert (chart / "Chart.yaml").exists()
    assert assembled == list(KIND_IMAGES)
    assert {path.name for path in (install.TOOLS / "images").iterdir()} == {
        *("dra-example-driver.tar", "workload.tar")
    }


def test_a_second_set_up_for_kind_does_nothing_and_says_nothing(
    assembled: list[Image], go: Go, capsys: Capture
) -> None:
    install.install(kind=True)
    capsys.readouterr()
    compiled = builds(go)
    install.install(kind=True)
    assert capsys.readouterr() == ("", "")
    assert (builds(go), len(assembled)) == (compiled, len(KIND_IMAGES))


def test_set_up_for_both_assembles_no_image_twice(assembled: list[Image]) -> None:
    install.install(host_node=True, kind=True)
    assert (host.missing(install.TOOLS), kind.missing(install.TOOLS)) == ([], [])
    assert len(assembled) == len({image.name for image in (*IMAGES, *KIND_IMAGES)})


def test_what_kind_lacks_is_told(assembled: list[Image]) -> None:
    install.install()
    assert kind.missing(install.TOOLS) == [
        *("bin/kind", "bin/dra-example-kubeletplugin"),
        *("images/workload.tar", "images/dra-example-driver.tar"),
        "charts/dra-example-driver-0.4.0/Chart.yaml",
    ]


@pytest.mark.usefixtures("assembled")
@pytest.mark.parametrize(
    ("version", "taken"),
    [
        ("0.31.9", False),
        ("0.32.0", True),
        ("0.33.0", True),
        ("1.0.0", True),
        ("0.32.0-beta", False),
    ],
)
def test_kind_is_taken_from_path_from_0_32_on(version: str, taken: bool, path: Path) -> None:
    program = write_script(path / "kind", f"echo kind version {version}")
    install.install(kind=True)
    placed = install.BIN / "kind"
    assert (placed.is_symlink() and placed.readlink() == program) == taken


def test_a_bundle_is_packed_without_what_is_for_kind(assembled: list[Image], path: Path) -> None:
    write_script(path / "kind", "echo kind version 0.33.0")
    install.install(kind=True)
    assert {"kind", "dra-example-plugin", "dra-example-chart"}.isdisjoint(install.in_cache())


def test_room_is_asked_for_what_is_built() -> None:
    assert install._room([KUBERNETES]) == cache.NEEDED_GB
    assert install._room([KUBELET]) == cache.HOST_NEEDED_GB
    assert install._room([KUBERNETES, KUBELET]) == cache.NEEDED_GB + cache.HOST_NEEDED_GB
    assert install._room([KIND, KIND]) == cache.KIND_NEEDED_GB
    assert install._room([KIND, KUBELET]) == cache.KIND_NEEDED_GB + cache.HOST_NEEDED_GB


def test_missing_headers_end_set_up_before_anything_is_built(
    assembled: list[Image], go: Go, path: Path
) -> None:
    write_script(path / "pkg-config", "exit 1")
    with pytest.raises(SetupError, match="needs the headers of libseccomp; Debian and Ubuntu"):
        install.install(host_node=True)
    assert builds(go) == 0


def test_a_host_node_is_linux(assembled: list[Image], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    with pytest.raises(SetupError) as refusal:
        install.install(host_node=True)
    assert str(refusal.value) == (
        "a host node needs Linux, and this is darwin; `make setup` has all that the embedded "
        "cluster needs"
    )
    assert not install.TOOLS.exists()


@pytest.mark.usefixtures("assembled")
def test_the_tools_of_a_host_node_are_downloaded_where_they_can_be(
    site: LabContext, go: Go
) -> None:
    for release in (*RELEASES, *HOST_RELEASES):
        contents = {name: f"released {name}".encode() for name in release.places}
        site.publish(release, contents)
    fake = fake_pulumi(install.ROOT.parent / "released" / "pulumi").read_bytes()
    site.publish(PULUMI_RELEASE, dict.fromkeys(PULUMI_RELEASE.places, fake))
    install.install(host_node=True)
    assert (install.TOOLS / "cni" / "bridge").read_text() == "released bridge"
    assert (install.BIN / "runc").read_text() == "released runc"
    assert (install.BIN / "ctr").read_text() == "released ctr"
    assert builds(go) == 5, "NVIDIA's two, node-proxy, pause, the driver's plugin"


def test_cni_plugins_on_path_are_left_alone(path: Path) -> None:
    install.BIN.mkdir(parents=True)
    for name in CNI_RELEASE.places:
        write_script(path / name, f"echo {CNI_RELEASE.version}")
    assert not install._linked(CNI_RELEASE), "bridge is also a program of iproute2"


def test_a_file_that_is_missing_is_told(assembled: list[Image]) -> None:
    install.install(host_node=True)
    (install.TOOLS / "cni" / "bridge").unlink()
    (install.TOOLS / "images" / "pause.tar").unlink()
    assert host.missing(install.TOOLS) == ["cni/bridge", "images/pause.tar"]


# --- platform, environment, clean ----------------------------------------------------------------


@pytest.fixture
def on_platform(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Its name, as the error or the notice says it."""
    system, machine = request.param
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    return f"{system}-{machine}"


@pytest.mark.parametrize(
    "on_platform", [("win32", "AMD64"), ("linux", "riscv64"), ("freebsd14", "amd64")], indirect=True
)
def test_an_unsupported_platform_is_one_line(on_platform: str) -> None:
    with pytest.raises(SetupError) as refusal:
        install.install()
    assert str(refusal.value) == (
        f"platform {on_platform} is not supported; these are: {', '.join(install.PLATFORMS)}"
    )
    assert not install.TOOLS.exists()


@pytest.mark.parametrize(
    "on_platform", [("linux", "aarch64"), ("darwin", "arm64"), ("darwin", "x86_64")], indirect=True
)
def test_an_untested_platform_is_told_once(on_platform: str, capsys: Capture) -> None:
    install._require_platform()
    assert capsys.readouterr().err == (
        f"set-up: platform {on_platform} builds from the same sources as linux-x86_64 "
        "but is untested\n"
    )
    install.BIN.mkdir(parents=True)
    install._require_platform()
    assert capsys.readouterr().err == ""


def test_the_environment_file_can_be_sourced(go: Go, checkout: Path) -> None:
    install.install()
    shown = subprocess.run(
        ["/bin/sh", "-c", '. .tools/env; echo "$PATH"; echo "$PULUMI_BACKEND_URL $PULUMI_HOME"'],
        cwd=checkout,
        env={"PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.splitlines() == [
        f"{checkout}/.tools/bin:/usr/bin",
        f"file://{checkout}/.state {checkout}/.tools/pulumi",
    ]
    assert "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION" in (install.TOOLS / "env").read_text()


def test_committed_stacks_are_the_files_in_the_checkout() -> None:
    assert install.committed_stacks() == ["dev", "module0"]


@pytest.fixture
def set_up(checkout: Path) -> Path:
    """A checkout whose one tool is a hard link into the cache."""
    (checkout / ".venv").mkdir()
    (checkout / ".tools").mkdir()
    cache.folder().mkdir(parents=True)
    (checkout / ".tools" / "kube").touch()
    os.link(checkout / ".tools" / "kube", cache.folder() / "kube")
    return checkout


def write_megabytes(path: Path, megabytes: int) -> None:
    path.write_bytes(os.urandom(1_000_000) * megabytes)


def test_clean_removes_what_set_up_made_and_says_how_much(set_up: Path, capsys: Capture) -> None:
    write_megabytes(set_up / ".venv" / "package", 80)
    with pytest.raises(SystemExit) as end:
        install.clean(with_cache=False)
    assert end.value.code == 0
    assert {path.name for path in set_up.iterdir()} == {"Pulumi.dev.yaml", "Pulumi.module0.yaml"}
    assert (cache.folder() / "kube").exists()
    assert capsys.readouterr().err == "set-up: freeing 0.1 GB\n"


def test_clean_removes_the_cache_when_asked_to(set_up: Path) -> None:
    with pytest.raises(SystemExit):
        install.clean(with_cache=True)
    assert not cache.folder().exists()


def test_clean_does_not_count_what_the_cache_still_holds(set_up: Path, capsys: Capture) -> None:
    write_megabytes(set_up / ".tools" / "kube", 80)
    with pytest.raises(SystemExit):
        install.clean(with_cache=False)
    assert capsys.readouterr().err == "set-up: freeing 0.0 GB\n"


def test_clean_counts_what_tools_and_cache_share_once(set_up: Path, capsys: Capture) -> None:
    write_megabytes(set_up / ".tools" / "kube", 80)
    with pytest.raises(SystemExit):
        install.clean(with_cache=True)
    assert capsys.readouterr().err == "set-up: freeing 0.1 GB\n"
