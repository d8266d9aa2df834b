"""The daemons of the host node: started detached, under systemd where there is one, and ended."""

import subprocess
from collections.abc import Callable
from urllib.parse import urlsplit

from machine import host_machine
from machine import host_places as places
from machine.errors import LabError
from machine.host_networks import Networks
from machine.host_node import SYSTEMD, TOOLS
from machine.processes import stop
from machine.run import ProgramTimedOut, run_program
from machine.waiting import until
from operations.host_node import node_files
from toolchain import images

SHIM = "containerd-shim-runc-v2"
UNIT = "dra-workshop-{}"
SOCKET_SECONDS = 20
CTR_SECONDS = 60
"""Longer than an import takes on a slow disk."""
STOP = ("kubelet", "node-proxy", "containerd")
"""In this order: a kubelet would start again what is being ended."""


def end_orphans() -> None:
    """End what ran in pods whose shims have ended: nothing can reach it any more, and containerd
    would not start before it has tried to."""
    if not any(p.info["cmdline"][0] == str(places.BIN / SHIM) for p in places.processes()):
        daemons = {process.pid for process in places.daemons()}
        stop([process for process in host_machine.grouped() if process.pid not in daemons])


def start_daemons(
    server: str, networks: Networks, prepare: Callable[[], None] = lambda: None
) -> None:
    """Start those that do not run. prepare: done before the kubelet, which needs containerd and
    ends where it does not answer."""
    running = {process.info["cmdline"][0] for process in places.daemons()}
    for name, command in node_files.commands(urlsplit(server).netloc, networks).items():
        if command[0] not in running:
            start(name, command)
        if name == "containerd":
            until(SOCKET_SECONDS, LabError)(_ctr, "version")
            prepare()


def start(name: str, command: list[str]) -> None:
    """Start a daemon that outlives this program and its session."""
    environment = {"PATH": f"{places.BIN}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    if SYSTEMD.exists():
        _under_systemd(name, command, environment)
        return
    with (node_files.LOGS / f"{name}.log").open("ab") as log:
        daemon = subprocess.Popen(
            command,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    host_machine.take_in(daemon.pid)


def _under_systemd(name: str, command: list[str], environment: dict[str, str]) -> None:
    log = node_files.LOGS / f"{name}.log"
    done = run_program(
        [
            "systemd-run",
            f"--unit={UNIT.format(name)}",
            "--collect",
            # Else systemd-run says that all went well before the program is started.
            "--property=Type=exec",
            "--property=Restart=always",
            "--property=RestartSec=1",
            # Containers outlive the containerd that started them.
            "--property=KillMode=process",
            "--property=Delegate=yes",
            f"--property=StandardOutput=append:{log}",
            f"--property=StandardError=append:{log}",
            *(f"--setenv={key}={value}" for key, value in environment.items()),
            *command,
        ],
        check=False,
    )
    if done.code:
        raise LabError(f"systemd does not start {name}: {done.errors.strip()}")


def import_images() -> None:
    for image in images.IMAGES:
        # Pinned, so that the kubelet never removes what cannot be fetched again.
        _ctr("-n", "k8s.io", "images", "import", "--label", "io.cri-containerd.pinned=pinned",
             str(TOOLS / "images" / image.file))  # fmt: skip


def _ctr(*arguments: str) -> None:
    command = [str(places.BIN / "ctr"), "--address", str(node_files.SOCKET), *arguments]
    try:
        run_program(command, seconds=CTR_SECONDS)
    except ProgramTimedOut as error:
        raise LabError(f"containerd does not answer within {CTR_SECONDS} s") from error


def stop_daemons() -> None:
    """One after the other, so that none works on what another has left."""
    for name in STOP:
        if SYSTEMD.exists():
            run_program(["systemctl", "stop", UNIT.format(name)], check=False)
        program = str(places.BIN / name)
        stop([p for p in places.processes() if p.info["cmdline"][0] == program])
