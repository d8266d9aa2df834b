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

from tests.unit.test_build import (
    calls,
    fake_go,
    make_tool,
    partial_folders,
    wait_until,
    write_script,
)
from toolchain import build, cache, install
from toolchain.errors import SetupError
from toolchain.go import Go
from toolchain.tools import CHART, PLUGINS, PULUMI_VERSION, GoTool

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
    assert capsys.readouterr().err.splitlines()[-1] == "set-up: ready (0 s)"


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
    assert "building our own" not in capsys.readouterr().err
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
    theirs = fake_pulumi(path / "pulumi", plugin="exec sleep 30")
    monkeypatch.setattr(install, "PLUGIN_SECONDS", 0.2)
    assert install._usable_pulumi() is None
    assert "on PATH cannot get its plugin command; building" in capsys.readouterr().err
    assert len(calls(theirs)) == 2, "its version, and one plugin"


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
