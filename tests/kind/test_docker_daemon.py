"""The daemon that the tests of kind bring along: it works, and nothing of it stays."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil
import pytest

from tests.kind.docker_daemon import NotHereError, docker_daemon
from toolchain.images import WORKLOAD, WORKLOAD_IMAGE
from toolchain.layout import TOOLS

IMAGE = TOOLS / WORKLOAD.into / WORKLOAD.file


def interfaces() -> set[str]:
    told = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True)
    return {line.split(":")[1].strip() for line in told.stdout.splitlines()}


def traces(folder: Path) -> list[str]:
    """Where this machine still knows of a daemon, by the name of its folder."""
    cgroups = Path("/sys/fs/cgroup")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return [
        *(str(path) for path in folder.parent.glob(folder.name)),
        *(str(path) for path in [*cgroups.glob(folder.name), *cgroups.glob(f"*/{folder.name}")]),
        *(line for line in mounts if folder.name in line),
        *(
            " ".join(process.info["cmdline"])
            for process in psutil.process_iter(["cmdline"])
            if any(folder.name in word for word in process.info["cmdline"] or ())
        ),
    ]


@pytest.mark.skipif(not IMAGE.exists(), reason="make setup-kind has not been run")
def test_a_container_of_the_workload_image_runs_and_nothing_is_left() -> None:
    before = interfaces()
    try:
        with docker_daemon() as daemon:
            assert len(traces(daemon.socket.parent)) > 2, "else nothing of it could be found"
            loaded = daemon.run(["docker", "load", "--input", IMAGE])
            assert f"Loaded image: {WORKLOAD_IMAGE}" in loaded.stdout, loaded.stderr
            arguments = ["docker", "run", "--rm", "--publish", "127.0.0.1:0:8080", WORKLOAD_IMAGE]
            program = "import os, sys; print(sys.version_info.major, os.getuid())"
            said = daemon.run([*arguments, "python3", "-c", program])
            assert (said.stdout, said.returncode) == ("3 65534\n", 0), said.stderr
            held = [*arguments[:2], "--detach", *arguments[2:]]
            left_running = daemon.run([*held, "python3", "-c", "import time; time.sleep(600)"])
            assert left_running.returncode == 0, left_running.stderr
    except NotHereError as error:
        pytest.skip(str(error))
    assert traces(daemon.socket.parent) == []
    assert interfaces() == before


def test_it_answers_at_a_socket_in_its_folder_and_only_in_its_network() -> None:
    with docker_daemon() as daemon:
        assert daemon.environment == {"DOCKER_HOST": f"unix://{daemon.socket}"}
        assert daemon.run(["docker", "version"]).returncode == 0
        inside = daemon.run(["ip", "-o", "link", "show", "docker0"])
        assert inside.returncode == 0, inside.stderr
        told = daemon.run(["readlink", "/proc/self/ns/net"]).stdout.strip()
        assert told != str(Path("/proc/self/ns/net").readlink())
