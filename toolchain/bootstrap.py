"""First step of set-up: make `.venv` with the locked packages, then hand over to `toolchain`.

Runs on the system's Python with nothing but the standard library. The environment counts as
made only when the digest of its lock file has been written into it, so a killed or changed
installation is made again.

Usage: python3 toolchain/bootstrap.py [--dev] [--host-node] [--kind] [--wheels FOLDER]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
OLDEST = (3, 11)
REFUSED = ',%#?:"$`\\'
"""Characters in a checkout's path that Pulumi, in the URL of its state, or a shell would take for
something else; ":" ends a folder of PATH, "," the name of a file that kwok reads."""


def refused(root: Path) -> str:
    """The characters of a path with which a lab cannot work, for a person; "" if it is fine."""
    odd = {letter for letter in str(root) if letter in REFUSED or not letter.isprintable()}
    return " ".join(letter if letter.isprintable() else repr(letter) for letter in sorted(odd))


def fail(message: str) -> None:
    sys.exit(f"set-up: {message}")


def say(message: str) -> None:
    print(f"set-up: {message}", file=sys.stderr, flush=True)  # noqa: T201


def run(step: str, command: list[str], log: Path) -> None:
    with log.open("ab") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        text = log.read_text(errors="replace").splitlines()
        fail("\n  ".join([f"{step} failed; the end of {log.relative_to(ROOT)} says:", *text[-8:]]))


def environment_is_made(lock: Path) -> bool:
    stamp = VENV / ".lock-digest"
    made = stamp.read_text().split() if stamp.exists() else []
    return digest(lock) in made and (VENV / "bin" / "python").exists()


def digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def make_environment(lock: Path, wheels: Path | None = None) -> bool:
    """Make `.venv` unless it is there already; returns whether it was made now.

    wheels: a folder with the lock's wheels and pip's, from which no index is asked.
    """
    if not lock.exists():
        fail(f"{lock.name} is not here: what only tests need is not part of a bundle")
    if environment_is_made(lock):
        return False
    started = time.monotonic()
    say(f"installing the Python packages of {lock.name} into .venv")
    log = ROOT / ".tools" / "python.log"
    log.unlink(missing_ok=True)
    if wheels is None:
        install_from_index(lock, log)
    else:
        install_wheels(wheels, log)
    made = [lock]
    if lock.name == "requirements-dev.lock":  # it holds all of the plain one
        made.append(ROOT / "requirements.lock")
    (VENV / ".lock-digest").write_text("\n".join(map(digest, made)) + "\n")
    say(f"Python packages installed ({time.monotonic() - started:.0f} s)")
    return True


def install_from_index(lock: Path, log: Path) -> None:
    # The interpreter may have been removed, and a venv that broke off may lack pip.
    if not all((VENV / "bin" / name).exists() for name in ("python", "pip")):
        run(
            "making a virtual environment (Debian and Ubuntu: apt install python3-venv)",
            [sys.executable, "-m", "venv", "--clear", str(VENV)],
            log,
        )
    (VENV / ".lock-digest").unlink(missing_ok=True)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--require-hashes"]
    run(
        "installing Python packages (is the package registry reachable?)",
        [*pip, "--disable-pip-version-check", "-r", str(lock)],
        log,
    )


def install_wheels(wheels: Path, log: Path) -> None:
    """pip runs from its own wheel, as Debian's and Ubuntu's Python cannot put it into a venv."""
    pip = next(wheels.glob("pip-*.whl"), None)
    if pip is None:
        fail(f"--wheels {wheels}: there is no pip-*.whl in it")
    run(
        "making a virtual environment",
        [sys.executable, "-m", "venv", "--clear", "--without-pip", str(VENV)],
        log,
    )
    # Isolated, so that no setting of this machine for pip counts.
    command = [str(VENV / "bin" / "python"), f"{pip}/pip", "--isolated", "install", "--no-index"]
    # What the lab uses is compiled below.
    command += ["--no-deps", "--no-cache-dir", "--no-compile"]
    packages = sorted(map(str, wheels.glob("*.whl")))
    run("installing Python packages", [*command, *packages], log)


def begin_compiling() -> subprocess.Popen[bytes]:
    """Have Python compile what the lab uses, beside what else set-up does."""
    with (ROOT / ".tools" / "bytecode.log").open("wb") as output:
        return subprocess.Popen(
            [str(VENV / "bin" / "python"), "-m", "toolchain.bytecode"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def main() -> None:
    arguments = argparse.ArgumentParser(description="Set up the workshop in this checkout.")
    arguments.add_argument("--dev", action="store_true", help="also what the tests need")
    arguments.add_argument("--host-node", action="store_true", help="also what a host node needs")
    arguments.add_argument("--kind", action="store_true", help="also what a kind cluster needs")
    arguments.add_argument(
        "--wheels", type=Path, metavar="FOLDER", help="take the packages from here, offline"
    )
    options = arguments.parse_args()
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:3]))
        fail(
            f"Python {found} is too old; {OLDEST[0]}.{OLDEST[1]} or later is needed "
            "(choose one with: make PYTHON=python3.12 …)"
        )
    if sys.platform not in ("linux", "darwin"):
        fail(f"platform {sys.platform} is not supported; Linux and macOS are (Windows: use WSL2)")

    if odd := refused(ROOT):
        fail(
            f"the path of this checkout has {odd} in it: {ROOT}; "
            "move it to a folder without these characters"
        )

    import fcntl  # not on Windows, so only after the line above

    (ROOT / ".tools").mkdir(exist_ok=True)
    with (ROOT / ".tools" / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is at work in this checkout; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock_file = ROOT / ("requirements-dev.lock" if options.dev else "requirements.lock")
        compiling = begin_compiling() if make_environment(lock_file, options.wheels) else None
        command = [str(VENV / "bin" / "python"), "-m", "toolchain", "install"]
        if options.host_node:
            command.append("--host-node")
        if options.kind:
            command.append("--kind")
        done = subprocess.run(command, cwd=ROOT, check=False)
        if compiling is not None:
            compiling.wait()  # without it, programs only start more slowly
    sys.exit(done.returncode)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    os.environ["PYTHONUTF8"] = "1"
    try:
        main()
    except KeyboardInterrupt:
        fail("interrupted; run the same command again to go on where it stopped")
