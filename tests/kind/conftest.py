"""This tier runs the real kind; it needs root and brings a Docker daemon of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from machine import gpu_host, kind_images
from tests.checkout import Checkout
from tests.kind.docker_daemon import DockerDaemon, NotHereError, docker_daemon, reason
from toolchain.errors import SetupError
from toolchain.images import DRIVER
from toolchain.layout import TOOLS
from toolchain.mocked_driver import build


@dataclass(frozen=True)
class Inside(Checkout):
    """A checkout whose commands run where the daemon's ports are."""

    daemon: DockerDaemon | None = None

    def command(self, *arguments: str) -> list[str]:
        assert self.daemon is not None
        return [*self.daemon.enter, *arguments]

    def environment(self) -> dict[str, str]:
        assert self.daemon is not None
        return super().environment() | self.daemon.environment

    def docker(self, *arguments: str) -> str:
        assert self.daemon is not None
        done = self.daemon.run(["docker", *arguments])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def left(self) -> dict[str, list[str]]:
        """What of a cluster Docker still has."""
        return {
            "containers": self.docker("ps", "--all", "--format", "{{.Names}}").split(),
            "networks": sorted(self.docker("network", "ls", "--format", "{{.Name}}").split()),
            "volumes": self.docker("volume", "ls", "--quiet").split(),
        }


NOTHING = {"containers": [], "networks": ["bridge", "host", "none"], "volumes": []}


def unable() -> str:
    """Why the real kind cannot be run here, "" if it can."""
    if why := reason():
        return why
    images = (kind_images.OFFLINE, TOOLS / DRIVER.into / DRIVER.file)
    if not all(path.exists() for path in (*images, TOOLS / "bin" / "kind")):
        return "run: make setup-host setup-kind kind-node-image"
    return ""


def unable_to_mock() -> str:
    """Why kind's nodes cannot have mocked GPUs here, "" if they can."""
    if any(path.exists() for path in gpu_host.KERNEL_DRIVER):
        return "mocked GPUs are not put beside a GPU's driver"
    try:
        build.require_compiler()
    except SetupError as error:
        return str(error)
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if why := unable():
        for item in items:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def docker() -> Iterator[DockerDaemon]:
    """One daemon for all tests, which has the image of nodes."""
    try:
        with docker_daemon() as daemon:
            yield daemon
    except NotHereError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def workstation(docker: DockerDaemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    made = Checkout.make(tmp_path_factory.mktemp("lab") / "checkout")
    yield Inside(made.folder, docker)
    inside = Inside(made.folder, docker)
    assert inside.left() == NOTHING
    assert list(Path(made.folder, ".run").glob("*")) == []


def statuses(lab: Checkout, stack: str) -> dict[str, str]:
    """Check → status, of the last update."""
    latest = lab.folder / ".results" / stack / "latest" / "results.json"
    verification = json.loads(latest.read_text())["verification"]
    return {
        finding["id"]: finding["status"]
        for result in verification.values()
        for finding in result["checks"]
    }
