"""The Docker daemon as module 0 sees it."""

import os
import platform
import shutil
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import semver

from checks.prerequisites import kind_toolkit, statements
from checks.prerequisites.statements import require_free
from checks.result import CheckFailed, Checklist, CheckSkipped, require
from machine import docker

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where a daemon that systemd runs finds programs."""

OLDEST_DOCKER = semver.Version(20, 10, 0)
"""kind runs with it."""
WANTED_DOCKER = semver.Version(24, 0, 0)
"""The workshop's documents ask for it; GPUs in nodes were never seen with an older one."""
DESKTOP = "Docker Desktop"
SNAPS = "/var/snap"
DAEMON_CONFIG = "/etc/docker/daemon.json"
DOCKERS_OWN = "runc"
"""Path of the runtime that Docker brings."""
TITLES = {
    "docker-program": "the docker program is on PATH",
    "docker-daemon": "the Docker daemon runs and answers this user",
    "docker-version": "the Docker daemon is new enough",
    "docker-local": "the Docker daemon runs on this machine",
    "docker-snap": "the Docker daemon sees the files of this machine",
    "docker-runtime": "Docker's default runtime is installed; without it no container starts",
    "docker-rootless": "the Docker daemon may give devices to nodes",
    "cgroups": "the machine has control groups of version 2",
}
REMEDIES = {
    "docker-program": "install Docker Engine: https://docs.docker.com/engine/install/",
    "docker-daemon": "run: sudo systemctl start docker",
    "docker-version": "install a newer Docker Engine: https://docs.docker.com/engine/install/",
    "docker-local": "run: unset DOCKER_HOST; docker context use default",
    "docker-snap": "run: sudo snap remove --purge docker, which removes its images and "
    f"containers too; then {docker.INSTALL}",
    "docker-runtime": f"{kind_toolkit.INSTALL_TOOLKIT} and run: sudo nvidia-ctk runtime configure "
    f"--runtime=docker; or set default-runtime to runc in {DAEMON_CONFIG}; then "
    f"{kind_toolkit.RESTART}",
    "docker-rootless": "run: docker context use default; sudo systemctl start docker",
    "cgroups": "boot with systemd.unified_cgroup_hierarchy=1; Kubernetes 1.35 and later use "
    "version 1 only when told to",
}


def add(checklist: Checklist, daemon: "Docker") -> None:
    verify = partial(statements.verify, checklist, TITLES, REMEDIES)
    verify("docker-program", daemon.program, f"Docker Engine {WANTED_DOCKER} or later")
    verify("docker-daemon", daemon.answers, "an answer to docker info", "docker-program")
    for identity, probe, expected in (
        ("docker-version", daemon.version, f"{WANTED_DOCKER} or later"),
        ("docker-local", daemon.is_local, platform.node()),
        ("docker-snap", daemon.is_no_snap, "Docker Engine as a package, not as a snap"),
        ("docker-runtime", daemon.runtime, "a runtime whose program is there"),
        ("docker-rootless", daemon.runs_as_root, "a daemon that runs as root"),
        ("cgroups", daemon.cgroups, "version 2"),
    ):
        verify(identity, probe, expected, "docker-daemon")


@dataclass
class Docker:
    """The Docker daemon, asked once; info is empty until it has answered."""

    with_gpu: bool
    info: dict[str, Any] = field(default_factory=dict)

    def program(self) -> str:
        found = shutil.which(docker.PROGRAM)
        if not found:
            docker.run("--version")  # says what helps
        return str(found)

    def answers(self) -> str:
        self.info = docker.info()
        return f"{self.info.get('OperatingSystem')}, {self.info.get('Name')}"

    def version(self) -> str:
        found = docker.parse_version(str(self.info.get("ServerVersion")))
        require(found >= (WANTED_DOCKER if self.with_gpu else OLDEST_DOCKER), str(found))
        require(found >= WANTED_DOCKER, f"{found}, with which kind runs", warning=True)
        return str(found)

    def is_local(self) -> str:
        """Mounts and ports of nodes are those of the daemon's machine."""
        if self._on_desktop:
            raise CheckFailed(f"in the virtual machine of {DESKTOP}", warning=not self.with_gpu)
        name = str(self.info.get("Name"))
        if name != platform.node():
            raise CheckFailed(f"it runs on {name}, this is {platform.node()}")
        return name

    @property
    def _on_desktop(self) -> bool:
        return self.info.get("OperatingSystem") == DESKTOP

    def is_no_snap(self) -> str:
        """A snap is confined to its own files and some of /home: what a mount names elsewhere
        becomes an empty folder without a word."""
        root = str(self.info.get("DockerRootDir"))
        if Path(root).is_relative_to(SNAPS):
            raise CheckFailed(f"from a snap: {root}")
        return "no snap"

    def runtime(self) -> str:
        """What Docker does not bring itself may have been removed since it was set up."""
        name = str(self.info.get("DefaultRuntime"))
        program = ((self.info.get("Runtimes") or {}).get(name) or {}).get("path")
        if program in (None, "", DOCKERS_OWN):
            return name
        if self._on_desktop or self.info.get("Name") != platform.node():
            raise CheckSkipped(f"{name}; the daemon is on another machine")
        if not shutil.which(program, path=f"{os.environ['PATH']}{os.pathsep}{SYSTEM_PATH}"):
            raise CheckFailed(f"{name}, whose program {program} is not there")
        return f"{name} ({program})"

    def runs_as_root(self) -> str:
        if any("rootless" in option for option in self.info.get("SecurityOptions") or []):
            raise CheckFailed("rootless", warning=not self.with_gpu)
        return "as root"

    def cgroups(self) -> str:
        found = str(self.info.get("CgroupVersion") or "1")
        return require(found == "2", f"version {found}", warning=True)

    def disk(self, needed: float) -> str:
        root = str(self.info.get("DockerRootDir"))
        try:
            return require_free(root, needed)
        except OSError as error:
            raise CheckSkipped(f"{root} cannot be looked at: {error.strerror}") from error
