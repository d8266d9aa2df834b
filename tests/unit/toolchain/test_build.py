"""Building into the cache, with a `go` that is a shell script."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.scripts import calls, wait_until, write_script
from tests.unit.toolchain.fakes import fake_go, make_tool, partial_folders
from toolchain import build, cache, progress, tools
from toolchain.errors import SetupError
from toolchain.go import Go
from toolchain.tools import Cgo, Edit, GoTool

REFUSED = "go: example.com/x@v1.2.3: reading https://proxy.test/x.mod: 403 Forbidden"
UNREACHABLE = "go: example.com/x@v1.2.3: dial tcp: lookup proxy.test: no such host"


def build_alone(tool: GoTool, go: Go) -> None:
    with build.alone():
        build.build(tool, go, "2 of 6")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GoTool:
    return make_tool(tmp_path / "modules", monkeypatch)


def test_a_built_tool_lies_in_the_cache_under_its_version_and_digest(
    tool: GoTool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress.Step, "seconds", 7.2)
    assert build.built(tool) is None
    build_alone(tool, fake_go(tmp_path))
    assert build.built(tool) == cache.folder() / f"example-1.2.3-{tool.digest}"
    assert (cache.folder() / tool.cache_name / "example").read_text() == "program\n"
    said = capsys.readouterr().err
    assert "example 1.2.3 (2 of 6): fetching its sources" in said
    assert "building example 1.2.3 (2 of 6): 2 packages" in said
    assert "built example 1.2.3 (2 of 6) in 7 s" in said


def test_the_version_is_linked_into_the_program(tool: GoTool, tmp_path: Path) -> None:
    go = fake_go(tmp_path)
    build_alone(tool, go)
    assert "-ldflags -s -w -X main.version=1.2.3 -o" in calls(go.program)[-1]


def edited(tool: GoTool, tmp_path: Path, text: str) -> tuple[GoTool, Go]:
    """The tool with an edit of a file that holds that text, and a Go that builds what it reads."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "main.go").write_text(text)
    read = r"""cat "$(sed -n 's/^replace .* => //p' "${3#-modfile=}")/main.go" > "$2" """
    module = f"""echo '{{"Dir": "{source}"}}'"""
    edit = Edit("example.com/x", "main.go", ":80", "127.0.0.1:80")
    return replace(tool, edits=(edit,)), fake_go(tmp_path, compile_=read, module=module)


def test_an_edit_is_built_in_the_place_of_the_published_source(
    tool: GoTool, tmp_path: Path
) -> None:
    changed, go = edited(tool, tmp_path, "listen(:80)\n")
    build_alone(changed, go)
    assert (cache.folder() / changed.cache_name / "example").read_text() == "listen(127.0.0.1:80)\n"
    assert (tmp_path / "source" / "main.go").read_text() == "listen(:80)\n"
    assert changed.digest != tool.digest


@pytest.mark.parametrize("text", ["listen(:443)", "listen(:80); listen(:80)"])
def test_an_edit_that_does_not_fit_the_source_once_is_an_error(
    tool: GoTool, tmp_path: Path, text: str
) -> None:
    changed, go = edited(tool, tmp_path, text)
    with pytest.raises(SetupError, match=r"main\.go has not ':80' once"):
        build_alone(changed, go)
    assert build.built(changed) is None


def test_a_tool_that_is_all_go_is_built_without_c(tool: GoTool, tmp_path: Path) -> None:
    go = fake_go(tmp_path, compile_='echo "cgo $CGO_ENABLED" > "$2"')
    build_alone(tool, go)
    assert (cache.folder() / tool.cache_name / "example").read_text() == "cgo 0\n"
    assert "-tags" not in calls(go.program)[-1]


def test_a_tool_with_c_is_built_and_listed_with_its_tags_and_flags(
    tool: GoTool, tmp_path: Path
) -> None:
    tool = replace(tool, cgo=Cgo(links=("-static", "-Wl,-z,lazy"), tags=("seccomp", "netgo")))
    go = fake_go(
        tmp_path,
        fetch='[ "$CGO_ENABLED" = 1 ] && echo alpha',
        compile_='echo "cgo $CGO_ENABLED" > "$2"',
    )
    build_alone(tool, go)
    assert (cache.folder() / tool.cache_name / "example").read_text() == "cgo 1\n"
    listed, built = calls(go.program)
    assert "-tags seccomp,netgo -deps" in listed
    assert "-v -tags seccomp,netgo -ldflags" in built
    assert "-X main.version=1.2.3 -extldflags '-static -Wl,-z,lazy' -o" in built


def test_warnings_of_the_c_compiler_are_no_packages(
    tool: GoTool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advanced: list[int] = []
    monkeypatch.setattr(progress.Step, "advance", lambda _: advanced.append(1))
    warning = "echo 'x.c:1: warning: old' >&2; echo alpha >&2; echo program > \"$2\""
    build_alone(tool, fake_go(tmp_path, compile_=warning))
    assert len(advanced) == 1


@pytest.fixture
def c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH: a C compiler, and a pkg-config that knows libseccomp."""
    write_script(tmp_path / "c" / "gcc", "")
    write_script(tmp_path / "c" / "pkg-config", '[ "$2" = libseccomp ]')
    monkeypatch.setenv("PATH", str(tmp_path / "c"))
    monkeypatch.delenv("CC", raising=False)
    return tmp_path / "c"


def test_runc_can_be_built_where_all_for_c_is_there(c: Path) -> None:
    build.require_c([tools.RUNC, tools.NVIDIA_TOOLKIT])


def test_missing_headers_of_seccomp_are_one_line_with_the_remedy(c: Path) -> None:
    write_script(c / "pkg-config", "exit 1")
    with pytest.raises(SetupError) as refusal:
        build.require_c([tools.KUBELET, tools.RUNC])
    assert str(refusal.value) == (
        "building runc 1.4.3 needs the headers of libseccomp; "
        "Debian and Ubuntu: apt install libseccomp-dev"
    )


@pytest.mark.usefixtures("c")
def test_a_machine_with_nothing_for_c_is_told_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SetupError) as refusal:
        build.require_c([tools.RUNC, tools.NVIDIA_TOOLKIT])
    assert str(refusal.value) == (
        "building runc 1.4.3, nvidia-container-toolkit 1.19.1 needs a C compiler (gcc), "
        "pkg-config, the headers of libseccomp; "
        "Debian and Ubuntu: apt install gcc libc6-dev pkg-config libseccomp-dev"
    )


@pytest.mark.usefixtures("c")
def test_another_c_compiler_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "clang -O2")
    with pytest.raises(SetupError, match=r"needs a C compiler \(clang\);"):
        build.require_c([tools.NVIDIA_TOOLKIT])


def test_what_is_all_go_needs_nothing_for_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    build.require_c([tools.KUBELET, tools.CONTAINERD, tools.CNI_PLUGINS, tools.NODE_PROXY])


def test_a_failed_build_names_the_tool_its_last_lines_and_the_log(
    tool: GoTool, tmp_path: Path
) -> None:
    go = fake_go(tmp_path, compile_="echo './main.go:7: undefined: x' >&2; exit 1")
    with pytest.raises(SetupError, match=r"example 1\.2\.3 failed; the whole log is") as failure:
        build_alone(tool, go)
    log = cache.folder() / "logs" / f"{tool.cache_name}.log"
    assert str(log) in str(failure.value)
    assert str(failure.value).endswith("./main.go:7: undefined: x")
    assert "undefined: x" in log.read_text()


def test_a_failed_build_does_not_look_finished_and_is_made_good_by_the_next(
    tool: GoTool, tmp_path: Path
) -> None:
    with pytest.raises(SetupError):
        build_alone(tool, fake_go(tmp_path, compile_='echo half > "$2"; exit 1'))
    assert build.built(tool) is None
    build_alone(tool, fake_go(tmp_path))
    assert (cache.folder() / tool.cache_name / "example").read_text() == "program\n"
    assert partial_folders() == []


def test_a_killed_build_does_not_look_finished_and_is_made_good_by_the_next(
    tool: GoTool, tmp_path: Path
) -> None:
    hanging = 'echo half > "$2"; touch "$0.half"; while [ ! -e "$0.end" ]; do sleep 0.05; done'
    go = fake_go(tmp_path, compile_=hanging)
    setup = multiprocessing.get_context("fork").Process(target=build_alone, args=(tool, go))
    setup.start()
    wait_until((tmp_path / "go.half").exists)
    setup.kill()
    setup.join()
    assert build.built(tool) is None
    assert len(partial_folders()) == 1

    build_alone(tool, fake_go(tmp_path))  # although the orphaned compiler still runs
    (tmp_path / "go.end").touch()
    assert (cache.folder() / tool.cache_name / "example").read_text() == "program\n"
    assert partial_folders() == []


@pytest.mark.parametrize("stage", ["fetch", "compile_"])
@pytest.mark.parametrize(
    ("line", "told"),
    [
        (REFUSED, "registry refuses a version; set GOPROXY to a registry that has it"),
        (UNREACHABLE, "registry cannot be reached; check the network, or set GOPROXY"),
    ],
    ids=["refused", "unreachable"],
)
def test_a_registry_that_does_not_serve_is_told_from_a_broken_build(
    tool: GoTool, tmp_path: Path, stage: str, line: str, told: str
) -> None:
    answer = {stage: f"echo '{line}' >&2; exit 1"}
    with pytest.raises(SetupError) as failure:
        build_alone(tool, fake_go(tmp_path, **answer))
    first, *rest = str(failure.value).splitlines()
    assert first.startswith("building example 1.2.3: the Go module ")
    assert told in first
    assert rest == [f"  {line}"]


def test_files_of_a_module_are_copied_as_they_are(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "chart").mkdir(parents=True)
    (source / "chart" / "Chart.yaml").write_text("name: example\n")
    (source / "chart" / "Chart.yaml").chmod(0o400)  # as in Go's module cache
    (source / "script").write_text("#!/bin/sh\n")
    (source / "script").chmod(0o400)
    (tmp_path / "modules" / "kube").mkdir(parents=True)
    files = {"mine": ("example.com/x", "chart"), "run": ("example.com/x", "script")}
    tool = GoTool("kube", "1.0.0", {}, files=files)

    build_alone(tool, fake_go(tmp_path, module=f"""echo '{{"Dir": "{source}"}}'"""))

    folder = cache.folder() / tool.cache_name
    assert (folder / "mine" / "Chart.yaml").read_text() == "name: example\n"
    assert (folder / "mine" / "Chart.yaml").stat().st_mode & 0o200, "it can be removed and edited"
    assert (folder / "run").stat().st_mode & 0o111, "it can be run"


def test_a_module_that_is_refused_is_told_as_such(tmp_path: Path) -> None:
    tool = GoTool("kube", "1.0.0", {}, files={"mine": ("example.com/x", "chart")})
    go = fake_go(tmp_path, module=f"""echo '{{"Error": "{REFUSED}"}}'; exit 1""")
    with pytest.raises(SetupError, match="refuses a version"):
        build_alone(tool, go)
    assert build.built(tool) is None
