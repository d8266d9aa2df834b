"""The docker program, asked for one thing at a time.

Its environment is left as it is, so DOCKER_HOST, DOCKER_CONTEXT and the contexts of `docker
context` mean what they mean at the terminal. An error that a person can fix says how.
"""

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
CHOOSE_DAEMON = ("DOCKER_HOST", "DOCKER_CONTEXT")


class DockerError(LabError):
    """docker cannot be asked, or refused; the text is what it printed."""


class TimedOut(DockerError):
    """No answer in time; whether docker did what it was asked for is not known."""


def run(*arguments: str, seconds: float = SECONDS, stdin: str = "") -> str:
    """What `docker ARGUMENTS…` prints. Raises DockerError."""
    try:
        return run_program([PROGRAM, *arguments], seconds=seconds, input=stdin).output
    except ProgramMissing as error:
        raise DockerError(f"there is no {PROGRAM} program on PATH", INSTALL) from error
    except ProgramUnusable as error:
        raise DockerError(
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
    return parse_version(run("version", "--format", "{{.Server.Version}}").strip())


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
    """What the daemon says of itself (the API's SystemInfo). Raises DockerError."""
    arguments = ("info", "--format", "{{json .}}")
    output = run(*arguments)
    try:
        found: dict[str, Any] = json.loads(output)
    except json.JSONDecodeError as error:
        raise DockerError(
            f"docker info gives no JSON, but {output[:80]!r}", "run: docker info"
        ) from error
    if _is_podman(found):
        raise DockerError("what answers in the place of Docker is Podman", INSTALL)
    # An old program ends with 0 although no daemon answered it, and names the reason in here.
    if errors := found.get("ServerErrors"):
        raise _refusal(arguments, 0, "; ".join(errors))
    return found


def _is_podman(info: dict[str, Any]) -> bool:
    """Told by the layout of what its own program says, or by what its socket leaves empty."""
    socket = info.get("ProductLicense") == "Apache-2.0" and not info.get("IndexServerAddress")
    return socket or ("host" in info and "ServerVersion" not in info)


def _refusal(arguments: tuple[str, ...], code: int, reason: str) -> DockerError:
    reason = reason or f"it ended with {code} and printed nothing"
    of_daemon = ANSWERED in reason
    if not of_daemon and REFUSED.search(reason):
        return DockerError(
            f"this user may not talk to the Docker daemon: {reason}",
            "run: sudo usermod -aG docker $USER, then log in anew (the group is as mighty as "
            "root); or run the lab as root",
        )
    if not of_daemon and UNREACHABLE.search(reason):
        chosen = [f"{key}={os.environ[key]}" for key in CHOOSE_DAEMON if os.environ.get(key)]
        return DockerError(
            f"the Docker daemon does not run or cannot be reached: {reason}",
            f"correct or unset {', '.join(chosen)}; docker context ls lists what there is"
            if chosen
            else "run: sudo systemctl start docker (Docker Desktop: start it)",
        )
    return DockerError(f"docker {' '.join(arguments)} failed: {reason}")
