"""What `make bundle` takes, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from toolchain import cache, layout, mode, on_path
from toolchain.bundle import archive, contents, pack, tools, wheels
from toolchain.bundle.pack import Order
from toolchain.errors import SetupError
from toolchain.tools import CHARTS, ETCD, PULUMI_COMMAND, PULUMI_RELEASE, RELEASES

BUILT = [tool for release in RELEASES for tool in release.instead_of]


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with every tool built and placed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "checkout"
    (root / ".tools").mkdir(parents=True)
    monkeypatch.setattr(layout, "ROOT", root)
    monkeypatch.setattr(layout, "TOOLS", root / ".tools")
    monkeypatch.setattr(layout, "PULUMI_HOME", root / ".tools" / "pulumi")
    for tool in (*BUILT, *CHARTS):
        in_cache(tool.cache_name, "built from")
    placed(**{tool.name: tool.digest for tool in (*BUILT, *CHARTS)})
    return root


def in_cache(name: str, source: str) -> None:
    folder = cache.folder() / name
    folder.mkdir(parents=True)
    (folder / "program").write_text(name)
    (folder / cache.SOURCE).write_text(json.dumps({source: "somewhere"}))


def placed(**digests: str) -> None:
    record = layout.TOOLS / "placed.json"
    known = json.loads(record.read_text()) if record.exists() else {}
    record.write_text(json.dumps(known | digests))


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


# --- what is ordered -----------------------------------------------------------------------------


def test_without_options_it_is_for_this_python_in_one_file() -> None:
    here = ".".join(map(str, sys.version_info[:2]))
    assert Order.parse("", "", "", "") == Order(here, None, None, pack.PRESET)
    assert Order.parse("3.13", "60", "0", "1") == Order("3.13", 60_000_000, False, 1)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("3.9", "", "", ""), "PYTHON_VERSION=3.9 cannot be used; 3.11 or later, as 3.12"),
        (("3", "", "", ""), "PYTHON_VERSION=3 "),
        (("3.12.3", "", "", ""), "PYTHON_VERSION=3.12.3 "),
        (("", "0", "", ""), "PART_MB=0 cannot be used; a whole number from 1, as 60"),
        (("", "1.5", "", ""), "PART_MB=1.5 "),
        (("", "+60", "", ""), "PART_MB=+60 "),
        (("", "6٢", "", ""), "PART_MB=6٢ "),
        (("3.1٢", "", "", ""), "PYTHON_VERSION=3.1٢ "),
        (("", "", "", "٣"), "PRESET=٣ "),
        (("", "-1", "", ""), "PART_MB=-1 "),
        (("", "", "yes", ""), "HOST=yes cannot be used; 1 with the host node's tools, 0 without"),
        (("", "", "", "10"), "PRESET=10 cannot be used; 0 (fast) to 9 (small)"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(
    options: tuple[str, str, str, str], told: str
) -> None:
    with pytest.raises(SetupError) as refusal:
        Order.parse(*options)
    assert str(refusal.value).startswith(told)


# --- tools ---------------------------------------------------------------------------------------


def test_all_that_is_placed_is_taken_from_the_cache() -> None:
    groups, with_host = tools.collect(None)
    assert {Path(name).name for name in groups} == {t.cache_name for t in (*BUILT, *CHARTS)}
    assert not with_host
    assert tools.mode_for(group[""] for group in groups.values()) == mode.BUILD


@pytest.mark.parametrize(("asked", "taken"), [(None, True), (True, True), (False, False)])
def test_what_a_host_node_needs_is_taken_unless_refused(asked: bool | None, taken: bool) -> None:
    in_cache("kubelet-1.37.2-0123456789ab", "downloaded")
    placed(kubelet="0123456789ab")
    groups, with_host = tools.collect(asked)
    assert with_host == taken == ("cache/kubelet-1.37.2-0123456789ab" in groups)
    found = tools.mode_for(group[""] for group in groups.values())
    assert found == (mode.AUTO if taken else mode.BUILD)


def test_a_host_node_that_was_not_set_up_is_refused() -> None:
    with pytest.raises(SetupError, match=r"HOST=1: .* are not placed; run: make setup-host"):
        tools.collect(True)


def test_a_program_on_path_is_refused_by_name() -> None:
    placed(etcd=f"{on_path.MARK}: 0123")
    with pytest.raises(SetupError, match=r"^etcd: taken from PATH, or not placed"):
        tools.collect(None)


def test_a_pulumi_on_path_is_refused_too() -> None:
    record = layout.TOOLS / "placed.json"
    kept = {k: v for k, v in json.loads(record.read_text()).items() if "pulumi" not in k}
    record.write_text(json.dumps(kept))
    with pytest.raises(SetupError, match=r"^pulumi: taken from PATH.* TOOLCHAIN=download \(or"):
        tools.collect(None)


def test_a_tool_that_was_cleaned_from_the_cache_is_refused() -> None:
    (cache.folder() / ETCD.cache_name).rename(cache.folder() / "elsewhere")
    with pytest.raises(SetupError, match=r"^etcd: no longer in .*; run: make clean setup"):
        tools.collect(None)


def test_plugins_that_pulumi_fetched_go_along(checkout: Path, tmp_path: Path) -> None:
    """They lie in no cache; set-up on the other machine has to find them placed."""
    assert tools.collect_plugins(tmp_path) == {}
    in_cache(PULUMI_RELEASE.cache_name, "downloaded")
    placed(pulumi=PULUMI_RELEASE.digest, **{PULUMI_COMMAND.name: "1.2.1"})
    groups, _ = tools.collect(None)
    assert f"cache/{PULUMI_RELEASE.cache_name}" in groups
    assert f"cache/{PULUMI_COMMAND.cache_name}" not in groups
    plugin = ".tools/pulumi/plugins/resource-command-v1.2.1"
    found = tools.collect_plugins(tmp_path)
    assert found[plugin] == checkout / plugin
    assert json.loads(found[".tools/placed.json"].read_text()) == {PULUMI_COMMAND.name: "1.2.1"}


# --- the project ---------------------------------------------------------------------------------


@pytest.fixture
def history(checkout: Path) -> Path:
    for name in ("pyproject.toml", "Makefile", "gone", "tests/test_x.py", "requirements-dev.lock"):
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).write_text('[project]\nversion = "1.2"\n')
    (checkout / ".gitignore").write_text(".tools/\n")
    git(checkout, "init", "-q")
    git(checkout, "add", ".")
    git(checkout, "commit", "-qm", "first")
    return checkout


def test_the_tracked_files_go_in_but_for_what_only_tests_need(history: Path) -> None:
    assert set(contents.project()) == {".gitignore", "Makefile", "gone", "pyproject.toml"}
    revision = contents.revision()
    assert revision.changed == revision.untracked == []
    assert revision.name == f"1.2-{revision.commit}"


def test_what_is_not_committed_is_told(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (history / "Makefile").write_text("changed")
    (history / "gone").unlink()
    (history / "new").touch()
    assert set(contents.project()) == {".gitignore", "Makefile", "pyproject.toml"}
    revision = contents.revision()
    assert revision.name.endswith("-modified")
    assert revision.title.endswith(" with 2 changed files")
    pack.report_revision(revision)
    assert capsys.readouterr().err.splitlines() == [
        "set-up: packing files as they are, not as committed: Makefile, gone",
        "set-up: leaving out what git does not track: new",
    ]


def test_without_git_there_is_nothing_to_pack(checkout: Path) -> None:
    (checkout / "pyproject.toml").write_text('[project]\nversion = "1.2"\n')
    with pytest.raises(SetupError, match="is no git checkout with a commit"):
        contents.revision()


# --- wheels --------------------------------------------------------------------------------------


def test_markers_are_held_against_the_other_python(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(
        "a==1 \\\n    --hash=sha256:0a \\\n    --hash=sha256:0b\n    # via x\n"
        "b==2 ; python_full_version < '3.12' \\\n    --hash=sha256:1a\n"
        "c==3 ; sys_platform == 'linux' \\\n    --hash=sha256:2a\n"
    )
    assert [line.strip() for line in wheels.selected(lock, "3.12", "x86_64").splitlines()] == [
        *("a==1 \\", "--hash=sha256:0a \\", "--hash=sha256:0b", "# via x"),
        *("c==3 \\", "--hash=sha256:2a"),
    ]
    assert "b==2 \\\n    --hash=sha256:1a\n" in wheels.selected(lock, "3.11", "x86_64")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "ERROR: Could not find a version\nERROR: No matching distribution found for a==1",
            "a==1 has no wheel for Python 3.15 on Linux x86_64; choose another PYTHON_VERSION",
        ),
        (
            "WARNING: Retrying (Retry(total=0))\nERROR: No matching distribution found for a==1",
            "the package registry cannot be reached; check the network",
        ),
        (
            "one\nERROR: two",
            "the wheels for Python 3.15 cannot be downloaded; pip says:\n  one\n  ERROR",
        ),
    ],
    ids=["no-wheel", "no-network", "else"],
)
def test_what_pip_says_is_put_into_words(said: str, told: str) -> None:
    assert str(wheels.failure(said, "3.15", "x86_64")).startswith(told)


def test_a_wheel_is_stored_with_the_same_files(tmp_path: Path) -> None:
    program = zipfile.ZipInfo("a.data/scripts/a", (2026, 1, 2, 3, 4, 6))
    program.external_attr = 0o100755 << 16
    with zipfile.ZipFile(tmp_path / "a.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(program, b"a" * 10_000, zipfile.ZIP_DEFLATED)
    (tmp_path / "stored").mkdir()
    wheels.store(tmp_path / "a.whl", tmp_path / "stored" / "a.whl")
    with zipfile.ZipFile(tmp_path / "stored" / "a.whl") as stored:
        (entry,) = stored.infolist()
        assert stored.read(entry) == b"a" * 10_000
    assert entry.compress_type == zipfile.ZIP_STORED
    assert (entry.external_attr, entry.date_time) == (program.external_attr, program.date_time)
    assert wheels.unpacked(tmp_path / "stored") == 10_000


# --- the archive ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "count"), [(None, 1), (1000, 3), (10_000, 1)])
def test_parts_are_full_but_for_the_last(tmp_path: Path, limit: int | None, count: int) -> None:
    data = os.urandom(2500)
    with archive.Parts(tmp_path, "a", limit) as parts:
        for start in range(0, 2500, 700):
            assert parts.write(data[start : start + 700]) == len(data[start : start + 700])
    files = [tmp_path / name for name in parts.sums]
    assert len(files) == count
    assert b"".join(path.read_bytes() for path in files) == data
    assert all(path.stat().st_size == limit for path in files[:-1])
    for path in files:
        assert parts.sums[path.name] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("preset", [0, archive.LARGE])
def test_the_streams_are_one_xz_file(tmp_path: Path, preset: int) -> None:
    data = os.urandom(100_001) + Path(sys.executable).resolve().read_bytes()[:500_000]
    (tmp_path / "tar").write_bytes(data)
    counted: list[int] = []
    with archive.Parts(tmp_path, "a.xz", None) as parts:
        archive.compress(tmp_path / "tar", parts, preset, counted.append)
    assert lzma.decompress((tmp_path / "a.xz").read_bytes()) == data
    assert sum(counted) == len(data)


def test_the_same_files_make_the_same_tar_and_say_nothing_of_this_machine(tmp_path: Path) -> None:
    tars = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "b").write_text("b")
        (folder / "a").write_text("a")
        os.utime(folder / "a", (number, number))
        archive.write({"project": {"": folder}}, tmp_path / f"{number}.tar")
        tars.append((tmp_path / f"{number}.tar").read_bytes())
    assert tars[0] == tars[1]
    with tarfile.open(tmp_path / "1.tar") as tar:
        assert [(m.name, m.uid, m.uname) for m in tar] == [
            *(("project", 0, ""), ("project/a", 0, ""), ("project/b", 0, "")),
        ]


@pytest.mark.parametrize("target", ["/etc/passwd", "../elsewhere", "in/../../elsewhere"])
def test_a_link_that_leads_out_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(target)
    with pytest.raises(SetupError, match="out of what is packed"):
        archive.write({"cache/a": {"": tmp_path / "folder"}}, tmp_path / "tar")


# --- the folder ----------------------------------------------------------------------------------


def test_a_bundle_that_fails_leaves_the_earlier_one(tmp_path: Path) -> None:
    final = tmp_path / "dist" / "bundle"
    with pack.whole(final) as folder:
        (folder / "first").touch()
    full = OSError(28, "No space left on device", "part")
    with (
        pytest.raises(SetupError, match="the disk of part is full"),
        pack.whole(final) as folder,
    ):
        (folder / "second").touch()
        raise full
    assert {path.name for path in final.parent.iterdir()} == {"bundle", ".lock"}
    assert (final / "first").exists()
    with pack.whole(final) as folder:
        (folder / "third").touch()
    assert [path.name for path in final.iterdir()] == ["third"]


def test_what_a_kill_left_is_removed_by_the_next_one_which_is_alone(tmp_path: Path) -> None:
    (tmp_path / ".other.partial" / "tar").mkdir(parents=True)
    with pack.whole(tmp_path / "bundle"):
        assert not (tmp_path / ".other.partial").exists()
        with (
            pytest.raises(SetupError, match="another make bundle is at work in"),
            pack.whole(tmp_path / "bundle"),
        ):
            pass
    assert (tmp_path / "bundle").is_dir()
