"""The docker program: each way in which it can be of no use has its message and its remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from machine import docker

Fake = Callable[..., None]
NO_DAEMON = "the Docker daemon does not run or cannot be reached"
PRINTED = {
    NO_DAEMON: [
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. "
        "Is the docker daemon running?",
        "failed to connect to the docker API at unix:///var/run/docker.sock; check if the path "
        "is correct and if the daemon is running: dial unix /var/run/docker.sock: connect: no "
        "such file or directory",
        'error during connect: Get "http://bogus:2375/v1.50/version": dial tcp: no such host',
        'Failed to initialize: unable to resolve docker endpoint: context "x": context not found',
    ],
    "this user may not talk to the Docker daemon": [
        "permission denied while trying to connect to the Docker daemon socket at "
        'unix:///var/run/docker.sock: Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.50/info": dial '
        "unix /var/run/docker.sock: connect: permission denied",
        "Got permission denied while trying to connect to the Docker daemon socket at unix:///x",
        "permission denied while trying to connect to the docker API at unix:///var/run/docker.so",
    ],
    "docker ps failed": [
        "Error response from daemon: No such container: node",
        "Error response from daemon: failed to create task: exec /x: permission denied: docker",
        "",
    ],
}


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts a docker program of the given shell lines on PATH, and nothing else."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for key in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(key, raising=False)

    def put(script: str, mode: int = 0o755) -> None:
        path = tmp_path / "docker"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(mode)

    return put


@pytest.mark.parametrize(
    ("message", "printed"), [(text, each) for text, texts in PRINTED.items() for each in texts]
)
def test_what_docker_prints_gets_its_message(fake: Fake, message: str, printed: str) -> None:
    fake(f"echo '{printed}' >&2; exit 1")
    with pytest.raises(docker.DockerError) as caught:
        docker.run("ps")
    assert caught.value.found.startswith(f"{message}: ")
    assert (printed or "printed nothing") in str(caught.value)
    assert bool(caught.value.remedy) == (message != "docker ps failed")


def test_no_program_says_where_to_get_it(fake: Fake) -> None:
    with pytest.raises(docker.DockerError, match=r"no docker program on PATH; install Docker"):
        docker.run("ps")


def test_a_program_that_may_not_run_is_no_program(fake: Fake) -> None:
    fake("echo hello", mode=0o644)
    with pytest.raises(docker.DockerError, match="cannot be run: Permission denied"):
        docker.run("ps")


def test_a_daemon_that_was_asked_for_by_name_is_named_in_the_remedy(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://build:2375")
    fake(f"echo '{PRINTED[NO_DAEMON][0]}' >&2; exit 1")
    with pytest.raises(docker.DockerError, match=NO_DAEMON) as caught:
        docker.run("ps")
    assert "DOCKER_HOST=tcp://build:2375" in caught.value.remedy
    assert "systemctl" not in caught.value.remedy


def test_a_daemon_that_hangs_is_a_time_out(fake: Fake) -> None:
    fake("exec /bin/sleep 60")
    with pytest.raises(docker.TimedOut, match=r"docker ps did not end within 0\.1 s"):
        docker.run("ps", seconds=0.1)


def test_text_goes_in_and_out(fake: Fake) -> None:
    fake("exec /bin/cat")
    assert docker.run("exec", "-i", "node", "sh", stdin="a\nb") == "a\nb"
    assert docker.run("exec", "node", "sh") == ""


def test_the_environment_reaches_the_program(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "elsewhere")
    fake('echo "$DOCKER_CONTEXT"')
    assert docker.run("ps") == "elsewhere\n"


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("28.2.2", "28.2.2"),
        ("20.10.24+dfsg1", "20.10.24"),
        ("26.1.3-0ubuntu1~24.04.1", "26.1.3"),
        ("19.03.15", "19.3.15"),
        ("29.1", "29.1.0"),
    ],
)
def test_the_version_of_the_daemon(fake: Fake, said: str, version: str) -> None:
    fake(f"echo '{said}'")
    assert str(docker.version()) == version


def test_a_daemon_without_a_version(fake: Fake) -> None:
    fake("echo '<no value>'")
    with pytest.raises(docker.DockerError, match=r"<no value>.*run: docker version"):
        docker.version()


def test_info_is_what_the_daemon_says(fake: Fake) -> None:
    fake("""echo '{"DefaultRuntime": "nvidia", "CgroupVersion": "2"}'""")
    assert docker.info()["DefaultRuntime"] == "nvidia"


def test_an_old_program_that_ends_well_without_a_daemon(fake: Fake) -> None:
    fake(f"""echo '{{"ServerErrors": ["{PRINTED[NO_DAEMON][0]}"]}}'""")
    with pytest.raises(docker.DockerError, match=NO_DAEMON):
        docker.info()


def test_info_that_is_no_json(fake: Fake) -> None:
    fake("echo Emulate Docker CLI using podman")
    with pytest.raises(docker.DockerError, match="gives no JSON"):
        docker.info()
