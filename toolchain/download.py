"""Takes tools as their projects publish them into the cache, each file checked by its SHA-256.

The checksums are asked for first, all at once and within a few seconds: that also shows which
hosts can be reached, so a machine without internet loses no time.

DRA_WORKSHOP_DOWNLOADS in the environment is the address of a mirror: `https://HOST/PATH` is then
taken from `MIRROR/HOST/PATH`, checksums included.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj
from typing import IO
from urllib.parse import urlsplit

import requests
import tenacity

from toolchain import cache
from toolchain.errors import DownloadError, WrongChecksumError
from toolchain.progress import say, step
from toolchain.tools import Asset, Release

STALLED_SECONDS = 30.0
"""How long a download may stand still before it counts as broken."""
ATTEMPTS = 3
PAUSE_SECONDS = 1.0
"""Before the second attempt; twice as long before the third."""
MEGABYTE = 1_000_000


def get(releases: Sequence[Release], seconds: float) -> dict[str, DownloadError]:
    """Download the releases into the cache; call it inside `build.alone`.

    seconds: how long to wait, for all together, until their checksums are there.
    Returns, by name, why a release is not available.
    """
    sums = ask({file.sums for release in releases for file in release.files}, seconds)
    failures: dict[str, DownloadError] = {}
    for number, release in enumerate(releases, 1):
        try:
            _get(release, sums, f"{number} of {len(releases)}")
        except DownloadError as error:
            failures[release.name] = error
    return failures


def ask(urls: Iterable[str], seconds: float) -> dict[str, str | DownloadError]:
    """The text at each URL, or why there is none within `seconds`, all asked at once."""
    late = f"no answer within {seconds:g} s"
    answers: dict[str, str | DownloadError] = {u: DownloadError(_host(u), late) for u in urls}

    def ask_one(url: str) -> None:
        try:
            with _open(url, seconds) as answer:
                answers[url] = answer.text
        except OSError as error:
            answers[url] = _failure(url, error)

    # Daemons, as the look-up of a name has no time limit of its own.
    threads = [threading.Thread(target=ask_one, args=(url,), daemon=True) for url in answers]
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(answers)


def _get(release: Release, sums: Mapping[str, str | DownloadError], position: str) -> None:
    expected = {file.url: _published(file, sums[file.sums]) for file in release.files}
    source = {"downloaded": {_located(url): f"sha256:{sum_}" for url, sum_ in expected.items()}}
    with cache.filled(release.cache_name, source) as folder:
        for file in release.files:
            arrived = folder / "arrived"
            title = f"downloading {next(iter(file.programs))} {release.version} ({position})"
            try:
                _fetch(file.url, arrived, title)
                _verify(file.url, arrived, expected[file.url])
                _take_out(file, arrived, folder)
            except OSError as error:
                raise _failure(file.url, error) from error


# --- over the network -------------------------------------------------------------------------


@contextmanager
def _open(url: str, seconds: float) -> Iterator[requests.Response]:
    """The answer of a server, a success, whose body can be read; proxies are honoured.

    seconds: for the connection, and for every part of the answer.
    """
    # As the file is, so that its length and its checksum are those of what arrives.
    headers = {"Accept-Encoding": "identity"}
    with requests.get(_located(url), headers=headers, stream=True, timeout=seconds) as answer:
        answer.raise_for_status()
        yield answer


def _fetch(url: str, target: Path, title: str) -> None:
    """Stream a file to `target`, from its start again when the connection breaks."""

    def say_why(state: tenacity.RetryCallState) -> None:
        assert state.outcome is not None  # noqa: S101
        say(f"{title}: {_reason(state.outcome.exception())}; trying again")

    again = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_exponential(PAUSE_SECONDS),
        retry=tenacity.retry_if_exception(_may_pass),
        before_sleep=say_why,
        reraise=True,
    )
    again(_stream, url, target, title)


def _stream(url: str, target: Path, title: str) -> None:
    with _open(url, STALLED_SECONDS) as answer, target.open("wb") as file:
        megabytes = math.ceil(int(answer.headers.get("Content-Length", 0)) / MEGABYTE)
        with step(title, megabytes, "MB") as progress:
            for chunk in answer.iter_content(MEGABYTE):
                file.write(chunk)
                progress.advance()


def _may_pass(error: BaseException) -> bool:
    """Whether another attempt may fare better: not if the server has understood and refused."""
    if isinstance(error, requests.HTTPError):
        return error.response.status_code >= 500
    return isinstance(error, requests.RequestException)


def _located(url: str) -> str:
    mirror = os.environ.get("DRA_WORKSHOP_DOWNLOADS")
    return f"{mirror.rstrip('/')}/{url.removeprefix('https://')}" if mirror else url


def _host(url: str) -> str:
    return urlsplit(_located(url)).hostname or url


def _failure(url: str, error: OSError) -> DownloadError:
    unreachable = isinstance(error, requests.ConnectionError | requests.Timeout)
    return DownloadError(_host(url) if unreachable else _located(url), _reason(error))


def _reason(error: BaseException | None) -> str:
    """What is at the bottom of a chain of errors; what libraries wrap it in helps nobody."""
    if isinstance(error, requests.HTTPError):
        return f"{error.response.status_code} {error.response.reason}"
    while error is not None and error.__context__ is not None:
        error = error.__context__
    return str(error)


# --- what has arrived -------------------------------------------------------------------------


def _name(file: Asset) -> str:
    return file.url.rpartition("/")[2]


def _published(file: Asset, answer: str | DownloadError) -> str:
    """The SHA-256 of a file, in hex, from what its project publishes.

    That is GitHub's description of a release, lines of "SUM  NAME", or one sum alone.
    """
    if isinstance(answer, DownloadError):
        raise answer
    try:
        sums = _of_github(answer) if answer.startswith("{") else _of_lines(answer)
    except (ValueError, KeyError, TypeError):
        sums = {}
    found = sums.get(_name(file), answer.strip()).lower()
    if not re.fullmatch("[0-9a-f]{64}", found):
        raise DownloadError(_located(file.sums), f"has no SHA-256 of {_name(file)}")
    return found


def _of_github(text: str) -> dict[str, str]:
    assets = json.loads(text)["assets"]
    return {asset["name"]: str(asset["digest"]).removeprefix("sha256:") for asset in assets}


def _of_lines(text: str) -> dict[str, str]:
    pairs = [line.split(maxsplit=1) for line in text.splitlines()]
    return {pair[1].lstrip("*"): pair[0] for pair in pairs if len(pair) == 2}


def _verify(url: str, arrived: Path, expected: str) -> None:
    with arrived.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != expected:
        raise WrongChecksumError(
            _located(url),
            f"its SHA-256 is {found}, but {expected} is published: damaged on its way, "
            "or tampered with; it was removed",
        )


def _take_out(file: Asset, arrived: Path, folder: Path) -> None:
    """Put the programs into `folder`, under our names: no path in an archive is ever used."""
    for name, path in file.programs.items():
        program = folder / name
        if path:
            with _member(file, arrived, path) as source, program.open("wb") as target:
                copyfileobj(source, target)
        else:
            arrived.rename(program)
        program.chmod(0o755)
    arrived.unlink(missing_ok=True)


@contextmanager
def _member(file: Asset, archive: Path, path: str) -> Iterator[IO[bytes]]:
    """A file in an archive, to be read. Raises DownloadError if it is not there."""
    try:
        if file.url.endswith(".zip"):
            with zipfile.ZipFile(archive) as opened, opened.open(path) as content:
                yield content
        else:
            with tarfile.open(archive) as tar:
                member = tar.extractfile(path)
                assert member is not None  # noqa: S101  # None is a folder
                yield member
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise DownloadError(_located(file.url), f"there is no {path} in it") from error
