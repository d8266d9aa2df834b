"""A bundle with a small project and one tool, and the machine that it is installed on."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from toolchain.bundle import archive, pack
from toolchain.bundle.contents import Group
from toolchain.bundle.installer import Manifest

TOOL = "etcd-3.6.14-0123456789ab"
LOCK = hashlib.sha256(b"lock").hexdigest()
BOOTSTRAP = f"""
import os, sys
from pathlib import Path
with open("calls", "a") as calls:
    print(*[a.partition("=")[0] for a in sys.argv[1:]], os.environ["DRA_WORKSHOP_TOOLCHAIN"],
          file=calls)
if Path("broken").exists():
    sys.exit("set-up: broken")
if sys.argv[1:]:
    wheels = Path(sys.argv[1].partition("=")[2])
    Path(".venv/bin").mkdir(parents=True, exist_ok=True)
    python = Path(".venv/bin/python")
    python.write_text('#!/bin/sh\\necho "$@" >> calls\\n')
    python.chmod(0o755)
    Path(".venv/wheel").write_bytes((wheels / "pip-1.whl").read_bytes())
    Path(".venv/.lock-digest").write_text("{LOCK}")
"""
KILLED = """
import os, runpy, signal, sys, tarfile
extract, fatal, program = tarfile.TarFile.extract, *sys.argv[1:3]
def extract_or_die(self, member, *arguments, **named):
    if member.name == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    extract(self, member, *arguments, **named)
tarfile.TarFile.extract = extract_or_die
sys.argv[1:3] = []
runpy.run_path(program, run_name="__main__")
"""
OLD_PYTHON = """
import runpy, sys, tarfile
for name in [name for name in vars(tarfile) if name.endswith("_filter")]:
    if name != "fully_trusted_filter":
        delattr(tarfile, name)
sys.argv[:1] = []
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Debian 12's 3.11.2 has no filters for what is unpacked."""


@dataclass(frozen=True)
class Machine:
    """A bundle in `here`, and the machine that it is to be installed on."""

    here: Path
    manifest: Manifest
    into: Path
    home: Path

    @property
    def cache(self) -> Path:
        return self.home / ".cache" / "dra-workshop"

    def install(self, *before: str) -> subprocess.CompletedProcess[str]:
        """Run it; `before` in place of the interpreter alone."""
        command = [*(before or [sys.executable]), str(self.here / "install")]
        return subprocess.run(
            [*command, "--into", str(self.into)],
            env={"HOME": str(self.home), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )

    def refusal(self) -> str:
        """What it says when it refuses; nothing may have been made."""
        done = self.install()
        assert done.returncode == 1, done.stderr
        assert not self.into.exists()
        assert not self.cache.exists()
        return done.stderr

    def sealed(self, **changes: object) -> Machine:
        """The same bundle as if it said something else about itself."""
        changed = replace(self.manifest, **changes)  # type: ignore[arg-type]
        sums = {name: pack.sha256(self.here / name) for name in self.manifest.archive}
        pack.seal(self.here, changed, sums)
        return replace(self, manifest=changed)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    source, here = tmp_path / "source", tmp_path / "bundle"
    write(source / "bootstrap.py", BOOTSTRAP)
    write(source / "wheels" / "pip-1.whl", "a wheel")
    write(source / "tool" / "etcd", "etcd" * 50_000, mode=0o755)
    write(source / "tool" / "__pycache__" / "etcd.pyc", "")
    os.link(source / "tool" / "etcd", source / "tool" / "etcd-too")
    (source / "tool" / "latest").symlink_to("etcd")
    (source / "random").write_bytes(os.urandom(25_000))  # so that there are parts
    groups: dict[str, Group] = {
        f"cache/{TOOL}": {"": source / "tool"},
        "project": {"toolchain/bootstrap.py": source / "bootstrap.py", "r": source / "random"},
        "wheels": {"": source / "wheels"},
    }
    here.mkdir()
    (tmp_path / "work").mkdir()
    parts = pack.write(groups, here, tmp_path / "work", pack.Order("3.12", part=10_000, preset=0))
    manifest = Manifest(
        name="bundle-1",
        packed="commit 1",
        python=".".join(map(str, sys.version_info[:2])),
        platform=f"linux-{platform.machine()}",
        glibc="2.17",
        archive=list(parts),
        groups={name: archive.size(group) for name, group in groups.items()},
        environment=1000,
        lock=LOCK,
        toolchain="build",
        host_node=False,
    )
    pack.seal(here, manifest, parts)
    return Machine(here, manifest, tmp_path / "lab", tmp_path / "home")


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
