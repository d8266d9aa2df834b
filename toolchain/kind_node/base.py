"""Debian's packages of a node, as one tar in the cache.

They are those of kind's own image as far as a node here needs them. The release is the one before
the newest: later ones have a systemd that refuses machines with cgroup v1.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

from toolchain import cache
from toolchain.errors import SetupError
from toolchain.progress import say, step

RELEASE = "bookworm"
PACKAGES = (
    *("ca-certificates", "conntrack", "dbus", "ethtool", "iproute2", "iptables", "jq", "kmod"),
    *("mount", "nftables", "procps", "systemd", "systemd-sysv"),
)
LEFT_OUT = (
    *("./dev/*", "./proc/*", "./run/*", "./sys/*", "./tmp/*"),
    *("./debootstrap", "./var/cache/apt/*", "./var/cache/ldconfig", "./var/lib/apt/lists/*"),
    *("./var/log/*", "./usr/share/doc/*", "./usr/share/info/*", "./usr/share/locale/*"),
    "./usr/share/man/*",
)
"""What of the packages no node needs, and what belongs to the machine that unpacked them."""
MIRROR = "DRA_WORKSHOP_DEBIAN_MIRROR"
"""Variable of the environment: where Debian's packages are, if not where debootstrap looks."""
TAR = "base.tar"
STEPS = ("I: Retrieving ", "I: Extracting ", "I: Unpacking ", "I: Configuring ")
"""How debootstrap's lines begin that tell of one package; each has a line of every kind at most."""
LINES = 400
"""About how many of them there are."""
OWN_MOUNTS = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"),
)
"""Before a command: what it mounts is seen by nobody else, and gone with all its processes when it
ends, or when we are killed."""


def digest() -> str:
    decided = (RELEASE, PACKAGES, LEFT_OUT, platform.machine())
    return hashlib.sha256(repr(decided).encode()).hexdigest()[:12]


def require() -> None:
    """Raise SetupError, with the remedy, unless packages can be unpacked here."""
    if os.geteuid() != 0:
        raise SetupError("building the image of kind's nodes needs root: sudo make kind-node-image")
    if not built() and shutil.which("debootstrap") is None:
        raise SetupError(
            "building the image of kind's nodes needs debootstrap; Debian: apt-get install "
            "debootstrap, Ubuntu: apt-get install debootstrap debian-archive-keyring"
        )


def _name() -> str:
    return f"kind-node-base-{RELEASE}-{digest()}"


def built() -> bool:
    """Whether the tar is in the cache."""
    return (cache.folder() / _name() / TAR).exists()


def tar() -> Path:
    """The packages as a tar; unpacked and packed only the first time."""
    final = cache.folder() / _name() / TAR
    if not built():
        started = time.monotonic()
        with cache.filled(_name(), {"debootstrap": RELEASE, "packages": PACKAGES}) as folder:
            _unpack(folder / "root")
            pack(folder / "root", folder / TAR, LEFT_OUT)
            shutil.rmtree(folder / "root")
            megabytes = (folder / TAR).stat().st_size / 1e6
        seconds = time.monotonic() - started
        say(f"unpacked Debian {RELEASE} in {seconds:.0f} s, {megabytes:.0f} MB")
    return final


def _unpack(root: Path) -> None:
    log = cache.folder() / "logs" / "debootstrap.log"
    log.parent.mkdir(exist_ok=True)
    command = [
        *(*OWN_MOUNTS, "debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
        *(RELEASE, str(root)),
    ]
    if mirror := os.environ.get(MIRROR):
        command.append(mirror)
    with (
        step(f"unpacking packages of Debian {RELEASE}", LINES, "lines of debootstrap") as progress,
        log.open("w") as record,
        subprocess.Popen(
            command, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as running,
    ):
        assert running.stdout is not None  # noqa: S101
        for line in running.stdout:
            record.write(line)
            if line.startswith(STEPS):
                progress.advance()
    if running.returncode:
        end = "\n  ".join(log.read_text().splitlines()[-8:])
        raise SetupError(
            f"debootstrap failed; if Debian's mirror cannot be reached, set {MIRROR} to one that "
            f"can; the whole log is {log}\n  {end}"
        )


def pack(root: Path, target: Path, without: tuple[str, ...] = ()) -> None:
    """The files of a folder as a tar, with their owners by number, in an order that stays."""
    command = ["tar", "--create", "--file", str(target), "--directory", str(root)]
    command += ["--sort=name", "--numeric-owner", "--xattrs"]
    command += [*(f"--exclude={pattern}" for pattern in without), "."]
    run(command)


def unpack(archive: Path, root: Path) -> None:
    root.mkdir()
    command = ["tar", "--extract", "--file", str(archive), "--directory", str(root)]
    run([*command, "--preserve-permissions", "--numeric-owner", "--xattrs"])


def run(command: list[str]) -> str:
    """What a command says. Raises SetupError, with what it complained of, if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        end = "\n  ".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise SetupError(f"{command[0]} failed with code {done.returncode}:\n  {end}")
    return done.stdout
