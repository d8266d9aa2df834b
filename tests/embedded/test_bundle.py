"""A bundle of this checkout, installed and used as on a machine that has nothing and no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.checkout import ROOT
from toolchain import cache
from toolchain.bundle.pack import Order, pack

DEAD = "http://127.0.0.1:9"
STACK = "module1"


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Path]:
    """Packed fast rather than small; all of it, and of what is made of it, is removed again."""
    yield pack(Order.parse(python="", part_mb="60", host="0", preset="0"), tmp_path / "dist")
    for process in psutil.process_iter(["cmdline"]):
        if any(str(tmp_path / "lab") in word for word in process.info["cmdline"] or []):
            process.kill()
    shutil.rmtree(tmp_path)


def alone(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with a Python and make, and dead ends where a network is."""
    proxies = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    return {
        "HOME": str(tmp_path / "home"),
        "PATH": os.pathsep.join([str(tmp_path / "path"), "/usr/bin", "/bin"]),
        "GOPROXY": "off",
        "PIP_NO_INDEX": "1",
        "DRA_WORKSHOP_DOWNLOADS": DEAD,
        **dict.fromkeys(proxies, DEAD),
    }


def test_a_lab_comes_up_from_a_bundle_without_any_network(bundle: Path, tmp_path: Path) -> None:
    parts = sorted(bundle.glob("*.xz.*"))
    assert len(parts) > 1
    assert all(path.stat().st_size <= 60_000_000 for path in parts)
    (tmp_path / "path").mkdir()
    base = Path(sys.base_prefix) / "bin" / "python{}.{}".format(*sys.version_info)
    (tmp_path / "path" / "python3").symlink_to(base)
    lab = tmp_path / "lab"

    def run(*command: str, folder: Path = lab) -> str:
        done = subprocess.run(
            command, cwd=folder, env=alone(tmp_path), text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    installed = run("python3", str(bundle / "install"), "--into", str(lab), folder=tmp_path)
    for word in ("fetching", "downloading", "building", "compiling"):
        assert word not in installed
    assert str(ROOT) not in (lab / ".tools" / "env").read_text()
    again = run("python3", str(bundle / "install"), "--into", str(lab), folder=tmp_path)
    assert "unpacking" not in again
    assert f"stack {STACK}: passed" in run("make", "up", f"STACK={STACK}")
    run("make", "destroy", f"STACK={STACK}")
    assert not (lab / ".run" / STACK).exists()
    entries = {path.name for path in (tmp_path / "home/.cache/dra-workshop").glob("*-*")}
    assert entries < {path.name for path in cache.folder().iterdir()}, "only what was packed"
