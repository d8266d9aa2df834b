"""Downloading into the cache, from a server on this machine."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import re
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.conftest import NOWHERE
from tests.unit.release_site import LabContext, packed, path_of, sha256
from tests.unit.scripts import wait_until
from tests.unit.toolchain.fakes import partial_folders
from toolchain import build, cache, download
from toolchain.errors import DownloadError, WrongChecksumError
from toolchain.tools import Asset, Release

Capture = pytest.CaptureFixture[str]

PROGRAM = os.urandom(1000)
PLAIN = Release(
    "plain",
    "1.2.3",
    (
        Asset(
            "https://files.test/v{version}/{os}/{arch}/plain",
            "https://files.test/v{version}/{os}/{arch}/plain.sha256",
            {"plain": ""},
        ),
    ),
    (),
)
PACKED = Release(
    "packed",
    "4.5.6",
    (
        Asset(
            "https://archives.test/packed-{version}-{x64}.{archive}",
            "https://archives.test/SHA256SUMS",
            {"packed": "packed-{version}/bin/packed", "more": "packed-{version}/bin/more"},
        ),
    ),
    (),
)
CONTENTS = {"plain": PROGRAM, "packed": PROGRAM, "more": b"more"}


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.01)


def get(*releases: Release, seconds: float = 5) -> dict[str, DownloadError]:
    with build.alone():
        return download.get(releases, seconds)


def url_of(release: Release) -> str:
    return release.files[0].url


def asked_for(site: LabContext, release: Release) -> int:
    return site.asked.count(path_of(url_of(release)))


def nothing_is_left() -> bool:
    return {path.name for path in cache.folder().iterdir()} == {"build.lock"}


# --- what is well --------------------------------------------------------------------------------


def test_a_program_lies_in_the_cache_under_its_version_and_can_be_run(
    site: LabContext, capsys: Capture
) -> None:
    site.publish(PLAIN, CONTENTS)
    assert build.built(PLAIN) is None
    assert get(PLAIN) == {}
    folder = build.built(PLAIN)
    assert folder == cache.folder() / f"plain-1.2.3-{PLAIN.digest}"
    assert (folder / "plain").read_bytes() == PROGRAM
    assert os.access(folder / "plain", os.X_OK)
    assert capsys.readouterr().err == "set-up: downloading plain 1.2.3 (1 of 1): 1 MB\n"


@pytest.mark.parametrize(("system", "kind"), [("linux", "tar.gz"), ("darwin", "zip")])
def test_programs_are_taken_out_of_an_archive_of_which_nothing_else_stays(
    site: LabContext, system: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert url_of(PACKED).endswith(f"packed-4.5.6-x64.{kind}")
    site.publish(PACKED, CONTENTS)
    assert get(PACKED) == {}
    folder = cache.folder() / PACKED.cache_name
    assert {path.name for path in folder.iterdir()} == {"packed", "more", cache.SOURCE}
    assert (folder / "packed").read_bytes() == PROGRAM
    assert os.access(folder / "more", os.X_OK)


def test_beside_the_programs_stands_where_they_came_from(site: LabContext, tmp_path: Path) -> None:
    site.publish(PLAIN, CONTENTS)
    get(PLAIN)
    text = (cache.folder() / PLAIN.cache_name / cache.SOURCE).read_text()
    where = f"{site.address}{path_of(url_of(PLAIN))}"
    assert json.loads(text) == {"downloaded": {where: f"sha256:{sha256(PROGRAM)}"}}
    assert str(tmp_path) not in text


def test_without_a_mirror_a_file_is_where_its_project_says(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://files.test/plain"
    monkeypatch.setenv("DRA_WORKSHOP_DOWNLOADS", "https://mirror.test/all/")
    assert download._located(url) == "https://mirror.test/all/files.test/plain"
    monkeypatch.setenv("DRA_WORKSHOP_DOWNLOADS", "")
    assert download._located(url) == url


def test_a_proxy_is_used(site: LabContext, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("http_proxy", site.address)
    monkeypatch.setenv("DRA_WORKSHOP_DOWNLOADS", "http://nowhere.invalid")
    site.publish(PLAIN, CONTENTS)
    site.files |= {f"http://nowhere.invalid{path}": data for path, data in site.files.items()}
    assert get(PLAIN) == {}


# --- checksums -----------------------------------------------------------------------------------

SUM = sha256(b"file")


@pytest.mark.parametrize(
    "text",
    [
        SUM,
        f"{SUM.upper()}\n",
        f"{'0' * 64}  other\n{SUM}  file\n",
        f"{SUM} *file\n{'0' * 64} *file.sig\n",
        json.dumps({"assets": [{"name": "file", "digest": f"sha256:{SUM}"}]}),
    ],
    ids=["alone", "upper case", "lines", "lines of binary files", "GitHub's"],
)
def test_checksums_are_read_as_projects_publish_them(text: str) -> None:
    file = Asset("https://files.test/v1/file", "https://files.test/sums", {})
    assert download._published(file, text) == SUM


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{SUM}  another-file\n",
        "<html>Please log in to this network</html>",
        '{"assets": [{"name": "plain", "digest": null}]}',
        '{"assets": [{"name": "plain"}]}',
        '{"message": "API rate limit exceeded"}',
        "{",
        "abc",
    ],
)
def test_what_has_no_checksum_is_not_downloaded(site: LabContext, text: str) -> None:
    site.publish(PLAIN, CONTENTS)
    sums = PLAIN.files[0].sums
    site.files[path_of(sums)] = text.encode()
    failure = get(PLAIN)["plain"]
    assert str(failure) == f"{site.address}{path_of(sums)}: has no SHA-256 of plain"
    assert asked_for(site, PLAIN) == 0
    assert nothing_is_left()


@pytest.mark.parametrize("release", [PLAIN, PACKED], ids=["program", "archive"])
def test_a_wrong_checksum_is_told_with_both_sums_and_nothing_is_kept(
    site: LabContext, release: Release
) -> None:
    site.publish(release, CONTENTS)
    published = sha256(site.files[path_of(url_of(release))])
    url = site.tamper(release)
    failure = get(release)[release.name]
    assert isinstance(failure, WrongChecksumError)
    assert str(failure).startswith(f"{site.address}{path_of(url)}: its SHA-256 is ")
    assert f"{sha256(site.files[path_of(url)])}, but {published} is published" in str(failure)
    assert asked_for(site, release) == 1, "no second attempt"
    assert build.built(release) is None
    assert nothing_is_left()


# --- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["url", "sums"])
def test_a_file_that_is_not_there_is_told_at_once(site: LabContext, missing: str) -> None:
    site.publish(PLAIN, CONTENTS)
    url = getattr(PLAIN.files[0], missing)
    del site.files[path_of(url)]
    assert str(get(PLAIN)["plain"]) == f"{site.address}{path_of(url)}: 404 Not Found"
    assert asked_for(site, PLAIN) == (1 if missing == "url" else 0)
    assert nothing_is_left()


@pytest.mark.parametrize("trouble", ["cut", "broken"])
def test_a_connection_that_breaks_once_is_made_again(
    site: LabContext, trouble: str, capsys: Capture
) -> None:
    site.publish(PACKED, CONTENTS)
    getattr(site, trouble)[path_of(url_of(PACKED))] = 1
    assert get(PACKED) == {}
    assert (cache.folder() / PACKED.cache_name / "packed").read_bytes() == PROGRAM
    assert asked_for(site, PACKED) == 2
    assert "; trying again\n" in capsys.readouterr().err


def test_a_download_that_is_always_cut_off_is_given_up(site: LabContext) -> None:
    site.publish(PLAIN, CONTENTS)
    site.cut[path_of(url_of(PLAIN))] = 100
    failure = get(PLAIN)["plain"]
    assert "IncompleteRead(500 bytes read, 500 more expected)" in str(failure)
    assert not isinstance(failure, WrongChecksumError)
    assert asked_for(site, PLAIN) == download.ATTEMPTS
    assert nothing_is_left()


def test_a_download_that_stands_still_is_given_up(
    site: LabContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "STALLED_SECONDS", 0.1)
    site.publish(PLAIN, CONTENTS)
    site.stalled[path_of(url_of(PLAIN))] = 2
    assert "timed out" in str(get(PLAIN)["plain"])
    assert asked_for(site, PLAIN) == download.ATTEMPTS


def test_a_host_that_cannot_be_reached_is_told_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRA_WORKSHOP_DOWNLOADS", NOWHERE)
    failure = str(get(PLAIN, seconds=60)["plain"])
    assert re.fullmatch(r"127\.0\.0\.1: .*Connection refused", failure)


def test_hosts_that_do_not_answer_cost_the_given_time_once(
    site: LabContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    class Asking(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            assert timeout is not None
            waited.append(timeout)
            super().join(timeout)

    for release in (PLAIN, PACKED):
        site.publish(release, CONTENTS)
        site.slow[path_of(release.files[0].sums)] = 60
    monkeypatch.setattr(download, "threading", SimpleNamespace(Thread=Asking))
    failures = get(PLAIN, PACKED, seconds=0.2)
    assert len(waited) == 2
    assert sum(waited) <= 0.2
    assert failures.keys() == {"plain", "packed"}
    assert asked_for(site, PLAIN) == 0


def test_a_look_up_that_hangs_does_not_hold_up_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, hanging = threading.Event(), []

    def hang(*_: object, **__: object) -> None:
        hanging.append(threading.current_thread())
        ended.wait(60)
        raise OSError

    monkeypatch.setattr("requests.get", hang)
    assert str(get(PLAIN, seconds=0.2)["plain"]) == "127.0.0.1: no answer within 0.2 s"
    wait_until(lambda: len(hanging) == 1)
    assert hanging[0].is_alive(), "it was not waited for"
    assert hanging[0].daemon, "nor does it hold up the end of set-up"
    ended.set()


def test_one_release_that_cannot_be_had_does_not_keep_the_others_away(site: LabContext) -> None:
    site.publish(PACKED, CONTENTS)
    assert get(PLAIN, PACKED).keys() == {"plain"}
    assert build.built(PACKED) is not None


def test_an_archive_without_the_program_is_told(site: LabContext) -> None:
    site.publish(PACKED, CONTENTS)
    archive = packed("packed.tar.gz", {"other": b""})
    site.files[path_of(url_of(PACKED))] = archive
    sums = f"{sha256(archive)}  packed-4.5.6-x64.tar.gz\n"
    site.files[path_of(PACKED.files[0].sums)] = sums.encode()
    assert "there is no packed-4.5.6/bin/packed in it" in str(get(PACKED)["packed"])
    assert nothing_is_left()


def test_a_full_disk_is_told(site: LabContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    site.publish(PLAIN, CONTENTS)
    monkeypatch.setattr(download, "_stream", full)
    assert "No space left on device" in str(get(PLAIN)["plain"])
    assert nothing_is_left()


def test_a_killed_download_does_not_look_finished_and_is_made_good_by_the_next(
    site: LabContext,
) -> None:
    site.publish(PLAIN, CONTENTS)
    path = path_of(url_of(PLAIN))
    site.stalled[path] = 20
    setup = multiprocessing.get_context("fork").Process(target=get, args=(PLAIN,))
    setup.start()
    wait_until(lambda: path in site.asked and partial_folders() != [])
    setup.kill()
    setup.join()
    assert build.built(PLAIN) is None
    assert len(partial_folders()) == 1
    del site.stalled[path]
    assert get(PLAIN) == {}
    assert partial_folders() == []
