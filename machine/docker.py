"""The docker program, asked for one thing at a time.

Its environment is left as it is, so DOCKER_HOST, DOCKER_CONTEXT and the contexts of `docker
context` mean what they mean at the terminal. What a person can fix is told apart by the type of
the error, which also says how.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

import semver

from machine.errors import LabError
from machine.run import ProgramFailed, ProgramMissing, ProgramTimedOut, ProgramUnusable, run_program

PROGRAM = "docker"
SECONDS = 30
INSTALL = "install Docker Engine 24.0 or later: https://docs.docker.com/engine/install/"
ANSWERED = "Error response from daemon"
REFUSED = re.compile(r"permission denied.*(docker|sock|dial)|dial unix.*permission denied", re.I)
UNREACHABLE = re.compile(
    r"cannot connect to the docker daemon|failed to connect to the docker api"
    r"|error during connect|is the docker daemon running|context not found|docker endpoint",
    re.I,
)
"""As docker 20.10 to 29 put it; anything else is what the daemon or the program answered."""


class DockerError(LabError):
    """docker was asked and refused; the text is what it said."""


class NoProgram(DockerError):
    """There is no docker program on PATH."""


class NoDaemon(DockerError):
    """No daemon runs where the program looks for one, or it cannot be reached."""


class NoPermission(DockerError):
    """The daemon's socket is there, and not for this user."""


class TimedOut(DockerError):
    """No answer in time; whether what was asked for is done is not known."""


def run(*arguments: str, seconds: float = SECONDS, stdin: str = "") -> str:
    """What `docker ARGUMENTS…` prints. Raises DockerError, told apart by its type."""
    try:
        return run_program([PROGRAM, *arguments], seconds=seconds, input=stdin).output
    except ProgramMissing as error:
        raise NoProgram(f"there is no {PROGRAM} program on PATH", INSTALL) from error
    except ProgramUnusable as error:
        raise NoProgram(
            f"the {PROGRAM} program on PATH cannot be run: {error.reason}",
            "install Docker Engine anew: https://docs.docker.com/engine/install/",
        ) from error
    except ProgramTimedOut as error:
        raise TimedOut(
            f"docker {' '.join(arguments)} did not end within {seconds:g} s",
            "see whether the daemon is well: docker info; sudo systemctl status docker",
        ) from error
    except ProgramFailed as error:
        raise _refusal(arguments, error.finished.code, error.finished.reason) from error


def version() -> semver.Version:
    """The daemon's version. Raises DockerError."""
    said = run("version", "--format", "{{.Server.Version}}").strip()
    return parse_version(said)


def parse_version(text: str) -> semver.Version:
    """Versions of distributions among them: 20.10.24+dfsg1, 28.2.2-0ubuntu1, 19.03.15, 29.1.

    Raises DockerError where there is no number in it.
    """
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    if not found:
        raise DockerError(
            f"docker does not say which version its daemon has, but {text!r}", "run: docker version"
        )
    return semver.Version(*(int(part or 0) for part in found.groups()))


def info() -> dict[str, Any]:
    """What the daemon says of itself (the API's SystemInfo). Raises DockerError.

    An old program ends well although no daemon answered it, and then names the reason inside.
    """
    arguments = ("info", "--format", "{{json .}}")
    said = run(*arguments)
    try:
        found: dict[str, Any] = json.loads(said)
    except json.JSONDecodeError as error:
        raise DockerError(
            f"docker info gives no JSON, but {said[:80]!r}", "run: docker info"
        ) from error
    if _is_podman(found):
        raise NoDaemon("what answers in the place of Docker is Podman", INSTALL)
    if errors := found.get("ServerErrors"):
        raise _refusal(arguments, 0, "; ".join(errors))
    return found


def _is_podman(info: dict[str, Any]) -> bool:
    """Told by the layout of what its own program says, or by what its socket leaves empty."""
    socket = info.get("ProductLicense") == "Apache-2.0" and not info.get("IndexServerAddress")
    return socket or ("host" in info and "ServerVersion" not in info)


def _refusal(arguments: tuple[str, ...], code: int, said: str) -> DockerError:
    last = " ".join(said.split()) or f"it ended with {code} and said nothing"
    if ANSWERED in last:
        return DockerError(f"docker {' '.join(arguments)} failed: {last}")
    if REFUSED.search(last):
        return NoPermission(
            f"this user may not talk to the Docker daemon: {last}",
            "run: sudo usermod -aG docker $USER, then log in anew (the group is as mighty as "
            "root); or run the lab as root",
        )
    if UNREACHABLE.search(last):
        asked = _where()
        return NoDaemon(
            f"the Docker daemon does not run or cannot be reached: {last}",
            f"correct or unset {asked}; docker context ls lists what there is"
            if asked
            else "run: sudo systemctl start docker (Docker Desktop: start it)",
        )
    return DockerError(f"docker {' '.join(arguments)} failed: {last}")


def _where() -> str:
    """Which daemon the environment asks for, "" for the usual one."""
    asked = [f"{key}={os.environ[key]}" for key in ("DOCKER_HOST", "DOCKER_CONTEXT")
             if os.environ.get(key)]  # fmt: skip
    return ", ".join(asked)
