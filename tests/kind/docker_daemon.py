"""A Docker daemon of the tests' own, on a machine that has none: nothing of it is installed.

It is built from its Go module, runs containerd and runc as set-up has them, and takes iptables,
where the machine has none, from the packages of the image of kind's nodes. It lives in network,
mount and process namespaces of its own and in one temporary folder, so ending the first of its
processes ends all containers, mounts and interfaces with it.

`python -m tests.kind.docker_daemon COMMAND …` runs a command with such a daemon.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock
import psutil
import tenacity

from toolchain import build, cache, go
from toolchain.bundle import unpacking
from toolchain.errors import SetupError
from toolchain.kind_node import base, parts
from toolchain.tools import CONTAINERD, RUNC, GoTool

HERE = Path(__file__).resolve().parent
MODULE = "github.com/moby/moby/v2"


class TestTool(GoTool):
    """A tool whose module lies with the tests, as nobody else needs it."""

    __test__ = False

    @property
    def folder(self) -> Path:
        return HERE / self.name


DOCKERD = TestTool(
    "dockerd",
    "2.0.0-beta.24",
    {name: f"{MODULE}/cmd/{name}" for name in ("dockerd", "docker-proxy")},
    # Clients refuse a daemon that tells no version; this is the release that became 29.
    sets={f"{MODULE}/dockerversion.Version": "29.0.0-from-2.0.0-beta.24"},
    minutes=4.0,
)
BUILD_GB = 6.0
IPTABLES = tuple(
    f"ip{version}tables{suffix}" for version in ("", "6") for suffix in ("", "-save", "-restore")
)
XTABLES = "usr/sbin/xtables-nft-multi"
LOADER = "ld-linux-*"
OF_IPTABLES = (
    rf"\./({XTABLES}|usr/lib/[^/]+/(xtables/.+|ld-linux[^/]*|lib(c|m|mnl|nftnl|xtables)\.so[^/]*))"
)
"""Members of the packages: the program, its extensions, the loader and libraries."""
DISK = Path("/var/tmp")  # on a disk, where /tmp may be memory
PREFIX = "dw-docker-"
LOCK = "lock"
"""File in the folder that is locked as long as the daemon is wanted."""
NEEDED_GB = 6.0
START_SECONDS = 60
END_SECONDS = 60
NAMESPACES = (
    *("setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--propagation", "private"),
    *("--pid", "--fork", "--kill-child"),
)
"""When the tests are killed unshare is, then the first process in the namespaces, and so all."""
START = """
set -eu
mount -t proc proc /proc
mount --make-rshared /
ip link set lo up
exec "$@"
"""
"""Mounts are shared from here on, as a volume of kind may ask that they reach its node; but with
nobody outside."""


class NotHereError(Exception):
    """Why this machine cannot run a daemon of the tests' own."""


@dataclass(frozen=True)
class DockerDaemon:
    """A running daemon. Ports that it publishes are in its network, so programs that use it, kind
    among them, must run there: see `enter`.

    socket: which it listens on. pid: a process in its network namespace.
    programs: folder of the programs that it was given.
    """

    socket: Path
    pid: int
    programs: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs in its environment to use it."""
        return {"DOCKER_HOST": f"unix://{self.socket}"}

    @property
    def enter(self) -> list[str]:
        """What to put before a command, so that it runs in the daemon's network."""
        return ["nsenter", "--net", "--target", str(self.pid), "--"]

    def run(
        self, command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the daemon's network, with the daemon in its environment."""
        return subprocess.run(
            [*self.enter, *map(str, command)],
            env={**os.environ, **(environment or {}), **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


def reason() -> str:
    """Why a daemon cannot be started here, "" if it can; nothing is built to find out."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a Docker daemon of the tests' own needs root on Linux"
    for program in ("setpriv", "unshare", "nsenter", "ip", "docker"):
        if shutil.which(program) is None:
            return f"a Docker daemon of the tests' own needs {program}, which is not on PATH"
    free = shutil.disk_usage(DISK).free / 1e9
    if free < NEEDED_GB:
        return f"a Docker daemon needs {NEEDED_GB:.0f} GB in {DISK}, which has {free:.1f} GB free"
    if not _has_iptables() and not base.built():
        return "no iptables on PATH, nor in the cache; install it, or run: make kind-node-image"
    return ""


@contextmanager
def docker_daemon() -> Iterator[DockerDaemon]:
    """A daemon without images; when it ends nothing of it is left.

    Raises NotHereError where there can be none, AssertionError if something is left.
    """
    if why := reason():
        raise NotHereError(why)
    _remove_stale()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=DISK))
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, folder)
        ending.enter_context(filelock.FileLock(folder / LOCK))
        _programs(folder / "bin")
        process = _start(folder)
        ending.callback(_remove_cgroups, folder.name)
        ending.callback(_end, process)
        daemon = DockerDaemon(folder / "docker.sock", process.pid, folder / "bin")
        _wait(daemon, process, folder / "log")
        yield daemon


def _remove_stale() -> None:
    """Remove the folders of daemons whose tests were killed: nobody holds their locks, and no
    program was started with them."""
    words = [
        word
        for process in psutil.process_iter(["cmdline"])
        for word in process.info["cmdline"] or ()
    ]
    for folder in DISK.glob(f"{PREFIX}*"):
        if any(folder.name in word for word in words):
            continue
        try:
            with filelock.FileLock(folder / LOCK, timeout=0):
                _remove_cgroups(folder.name)
                shutil.rmtree(folder)
        except filelock.Timeout:
            continue


# --- its programs -----------------------------------------------------------------------------


def _programs(folder: Path) -> None:
    """Have links to all that the daemon calls in one folder."""
    folder.mkdir()
    try:
        _build()
        found = {name: parts.program(CONTAINERD, name) for name in CONTAINERD.programs}
        found["runc"] = parts.program(RUNC, "runc")
    except SetupError as error:
        raise NotHereError(str(error)) from error
    found |= {name: parts.program(DOCKERD, name) for name in DOCKERD.programs}
    for name, program in found.items():
        (folder / name).symlink_to(program)
    if not _has_iptables():
        _take_iptables(folder)


def _build() -> None:
    """Have all that is built in the cache."""
    tools = [t for t in (DOCKERD, CONTAINERD, RUNC) if t is DOCKERD or t in parts.unbuilt()]
    with build.alone():
        lacking = [tool for tool in tools if build.built(tool) is None]
        if not lacking:
            return
        build.require_c(lacking)
        cache.require_room(BUILD_GB)
        compiler = go.find()
        for number, tool in enumerate(lacking, 1):
            build.build(tool, compiler, f"{number} of {len(lacking)}")
        cache.drop_intermediate()


def _has_iptables() -> bool:
    return all(shutil.which(name) for name in IPTABLES)


def _take_iptables(folder: Path) -> None:
    """iptables with the libraries and the loader that it comes with: this machine's may differ."""
    root = folder / "xtables"
    with tarfile.open(base.tar()) as packages:
        for member in packages:
            if re.fullmatch(OF_IPTABLES, member.name):
                unpacking.put(packages, member, root)
    (loader,) = [path for path in root.glob(f"usr/lib/*/{LOADER}") if path.is_file()]
    for name in IPTABLES:
        script = folder / name
        script.write_text(
            "#!/bin/sh\n"
            f"export XTABLES_LIBDIR={loader.parent}/xtables\n"
            f"exec {loader} --argv0 {name} --library-path {loader.parent} {root}/{XTABLES} "
            '"$@"\n'
        )
        script.chmod(0o755)
    loader.chmod(loader.stat().st_mode | stat.S_IXUSR)


# --- its life ---------------------------------------------------------------------------------


def _start(folder: Path) -> subprocess.Popen[bytes]:
    command = [
        *(*NAMESPACES, "sh", "-c", START, "sh", "dockerd"),
        *("--host", f"unix://{folder}/docker.sock", "--pidfile", f"{folder}/pid"),
        *("--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"),
        *("--config-file", f"{folder}/daemon.json"),
        # Images take half the disk there that they take in containerd's store.
        *("--feature", "containerd-snapshotter=false", "--storage-driver", "overlay2"),
        *("--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{folder.name}"),
        *("--bip", "10.217.0.1/24", "--default-address-pool", "base=10.218.0.0/16,size=24"),
        *("--userland-proxy-path", f"{folder}/bin/docker-proxy"),
    ]
    (folder / "daemon.json").write_text("{}\n")
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            command,
            env=os.environ | {"PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait(daemon: DockerDaemon, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while daemon.run(["docker", "version"]).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise AssertionError(f"the Docker daemon did not start:\n{end}")
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the daemon, which ends its containers; then all that is left in its namespaces."""
    for child in _children(process.pid):
        os.kill(child, signal.SIGTERM)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


@tenacity.retry(
    stop=tenacity.stop_after_delay(END_SECONDS), wait=tenacity.wait_fixed(0.2), reraise=True
)
def _remove_cgroups(name: str) -> None:
    """The kernel takes a moment until a group whose last process has ended can be removed."""
    mounted = Path("/sys/fs/cgroup")
    for top in [mounted / name, *mounted.glob(f"*/{name}")]:
        for folder, _, _ in os.walk(top, topdown=False):
            Path(folder).rmdir()


def main() -> int:
    with docker_daemon() as daemon:
        command = [*daemon.enter, *sys.argv[1:]]
        return subprocess.run(command, env=os.environ | daemon.environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
