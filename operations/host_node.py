"""A real node on this machine: kubelet, containerd and runc beside an embedded control plane.

There is one at a time, whose owner is noted in a file of the machine. Its daemons are detached
from the command that starts them, and run under systemd where there is one; elsewhere a lost one
is started again by the next update. No Docker and no registry are needed, and what is installed
on the machine is not touched.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from components.cluster import host_places as places
from components.cluster import identity
from components.cluster.host_networks import Networks
from components.cluster.life import RUN, processes, was_moved
from operations import embedded, failed_start, gpu_host, node_files, node_machine, node_network
from operations.errors import OperationError, removed_on_failure
from operations.processes import stop
from operations.waiting import locked, until
from toolchain import host, images
from toolchain.install import ROOT

LOCK = Path("/run/lock/dra-workshop-node.lock")
TOOLS = Path(".tools")
SHIM = "containerd-shim-runc-v2"
PROGRAMS = ("containerd", SHIM, "ctr", "runc", "kubelet", "node-proxy")
CNI_PLUGINS = ("bridge", "host-local", "loopback")
SYSTEMD = Path("/run/systemd/system")
UNIT = "dra-workshop-{}"
SOCKET_SECONDS = 20
CTR_SECONDS = 60
"""Longer than an import takes on a slow disk."""
READY_SECONDS = 60
NODE_SECONDS = 90
"""Shorter than Pulumi waits for any Command that takes the lock, so that ours is what is told."""
STOP = ("kubelet", "node-proxy", "containerd")
"""In this order: a kubelet would start again what is being ended."""


@dataclass(frozen=True)
class Specification:
    """cluster: the incarnation of the control plane that it joins; another one, another node.
    networks: as in Networks, {} for those of the default."""

    stack: str
    cluster: str
    networks: dict[str, str] = field(default_factory=dict)


def make(wanted: Specification) -> dict[str, Any]:
    """Make the node and have it join the stack's cluster; returns its facts.

    A node that the same stack has is made anew. Raises OperationError, having removed what it
    made, with the reason from the logs, and before anything is changed if the machine already has
    a kubelet or the node of another stack.
    """
    started = time.monotonic()
    with _alone():
        require_usable(wanted.stack, Networks(**wanted.networks))
        _remove()
        with removed_on_failure(_remove, partial(_last_words, wanted.stack)):
            _take(wanted.stack)
            _lay_out()
            facts = _join(wanted, started)
            (RUN / wanted.stack / places.FACTS).write_text(json.dumps(facts, indent=2) + "\n")
    return facts


def _join(wanted: Specification, started: float) -> dict[str, Any]:
    driver, gpus = found_gpus()
    networks = Networks(**wanted.networks)
    root = _prepare(driver, networks)
    server = _server(wanted.stack)
    node_files.write(server, _pki(wanted.stack), networks)
    _start_daemons(server, networks, _import_images)
    _wait_until_ready(wanted.stack)
    return {
        "name": places.NODE,
        "kind": "host",
        "specification": asdict(wanted),
        "gpus": [gpu.facts() for gpu in gpus],
        "driverRoot": root,
        "driverVersion": driver.version if driver else "",
        "supervisor": "systemd" if SYSTEMD.exists() else "the next update",
        "incarnation": secrets.token_hex(4),
        "seconds": round(time.monotonic() - started, 1),
    }


def revive(stack: str, incarnation: str, life: str) -> None:  # noqa: ARG001, another life, another run
    """Start what ended of the node. Raises OperationError with the way out if it is not whole."""
    with _alone():
        facts = facts_of(stack)
        files = (node_files.CONTAINERD, node_files.KUBELET, node_files.KUBECONFIG, places.OWNER)
        if facts.get("incarnation") != incarnation or not all(path.exists() for path in files):
            raise OperationError(
                f"the files of the host node of stack {stack} are gone; run: "
                f"make destroy STACK={stack}, then: make up STACK={stack}"
            )
        node_machine.make_folders()
        driver, _ = found_gpus()
        # Those it was made with: addresses are in its files, and in the cluster's certificates.
        networks = Networks(**facts["specification"]["networks"])
        _prepare(driver, networks)
        _end_orphans()
        _start_daemons(_server(stack), networks)
        _wait_until_ready(stack)


def remove(stack: str) -> None:
    """Remove the node if it is this stack's; nothing there is no error.

    Raises OperationError that names what is left.
    """
    if is_ours(stack):  # only then: the lock needs root
        with _alone():
            _remove()
    (RUN / stack / places.FACTS).unlink(missing_ok=True)


def whole(stack: str) -> bool:
    """Whether every process of the stack's node, and of the cluster that it is in, runs."""
    cluster = identity.facts(stack)
    running = len(processes(RUN / stack)) >= cluster.get("processes", 0)
    moved = was_moved(RUN / stack, cluster)
    return bool(cluster) and running and places.daemons_run() and not moved


def facts_of(stack: str) -> dict[str, Any]:
    """What is known of the stack's node, {} without one."""
    try:
        found: dict[str, Any] = json.loads((RUN / stack / places.FACTS).read_text())
    except (OSError, ValueError):
        return {}
    return found


# --- whose the node is -----------------------------------------------------------------------


@contextmanager
def _alone() -> Iterator[None]:
    try:
        LOCK.parent.mkdir(parents=True, exist_ok=True)
        with locked(LOCK, "the set-up or removal of this machine's node", NODE_SECONDS):
            yield
    except PermissionError as error:
        raise OperationError("a host node needs root; run the same command with sudo") from error


def owner() -> dict[str, Any]:
    """Stack, checkout and lab that have the node of this machine, {} where there is none."""
    try:
        found: dict[str, Any] = json.loads(places.OWNER.read_text())
    except (OSError, ValueError):
        return {}
    return found


def is_ours(stack: str) -> bool:
    """Whether the node is that of the stack's lab, which may have been moved since."""
    known = owner()
    if known.get("stack") != stack:
        return False
    here, made_here = known["project"] == str(ROOT), bool(facts_of(stack))
    if "lab" in known:  # the id is another after the state was lost
        return known["lab"] == identity.known(stack) or (here and made_here)
    moved = not Path(known["project"]).exists() and made_here
    return here or moved


def require_usable(stack: str, networks: Networks) -> str:
    """Raise OperationError, naming the remedy, unless this machine can have this stack's node."""
    if os.name != "posix" or os.geteuid() != 0:
        raise OperationError("a host node needs root; run the same command with sudo")
    known = owner()
    if known and not is_ours(stack) and Path(known["project"]).exists():
        raise OperationError(
            f"the host node of this machine belongs to stack {known['stack']} of "
            f"{known['project']}; remove it there: make destroy STACK={known['stack']}"
        )
    ours = {process.pid for process in places.processes()}
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "kubelet" and process.pid not in ours:
            raise OperationError(
                f"a kubelet runs here already (process {process.pid}); use its cluster, or a "
                "machine without one"
            )
    if not known and places.KUBELET.exists() and any(places.KUBELET.iterdir()):
        raise OperationError(
            f"{places.KUBELET} holds files of another kubelet; if it is not used any more, "
            "move it away"
        )
    return node_network.require_free(networks)


def _take(stack: str) -> None:
    """Note whose the node is, and what it will change, before anything is changed."""
    node_machine.make_folders()
    new = places.OWNER.with_suffix(".new")
    known = {
        "stack": stack,
        "project": str(ROOT),
        "lab": identity.of(stack),
        "before": node_machine.noted(),
    }
    new.write_text(json.dumps(known, indent=2) + "\n")
    new.replace(places.OWNER)


# --- making ----------------------------------------------------------------------------------


def found_gpus() -> tuple[gpu_host.Driver | None, list[gpu_host.Gpu]]:
    """The driver and the GPUs of this machine; a lab that needs none goes on without."""
    try:
        driver = gpu_host.find(gpu_host.cdi_spec())
    except gpu_host.NoDriver:
        return None, []
    return driver, gpu_host.gpus(driver)


def _lay_out() -> None:
    """Copies of the programs: set-up may change its own while the node runs."""
    places.BIN.mkdir(exist_ok=True)
    sources = [TOOLS / "bin" / name for name in PROGRAMS]
    for source in [*sources, *(TOOLS / "cni" / name for name in CNI_PLUGINS)]:
        try:
            shutil.copy2(source, places.BIN / source.name)
        except FileNotFoundError as error:
            raise OperationError(f"{source} is missing; {host.REMEDY}") from error
    if restorecon := shutil.which("restorecon"):  # else copies have the label of what was copied
        subprocess.run([restorecon, "-R", str(places.BIN)], check=False, capture_output=True)


def missing_tools() -> list[str]:
    """What set-up for a host node would have to bring."""
    return host.missing(TOOLS)


def _prepare(driver: gpu_host.Driver | None, networks: Networks) -> str:
    """Have network, groups and mounts, which a reboot takes away; returns the driver's root."""
    node_network.make(networks)
    node_machine.make_groups()
    node_machine.share(places.KUBELET)
    if driver is None:
        return ""
    if driver.usual:
        node_machine.share_root()
        return "/"
    # The plugin's pod mounts the folder above its driver root too.
    node_machine.share(places.RUNTIME / "gpu")
    root = places.RUNTIME / "gpu" / "driver"
    node_machine.bind(driver.programs, root / "usr" / "bin")
    node_machine.bind(driver.libraries, root / "usr" / "lib64")
    return str(root)


def _end_orphans() -> None:
    """End what ran in pods whose shims have ended: nothing can reach it any more, and containerd
    would not start before it has tried to."""
    if not any(p.info["cmdline"][0] == str(places.BIN / SHIM) for p in places.processes()):
        daemons = {process.pid for process in places.daemons()}
        stop([process for process in node_machine.grouped() if process.pid not in daemons])


def _start_daemons(
    server: str, networks: Networks, prepare: Callable[[], None] = lambda: None
) -> None:
    """Start those that do not run. prepare: done before the kubelet, which needs containerd and
    ends where it does not answer."""
    running = {process.info["cmdline"][0] for process in places.daemons()}
    for name, command in node_files.commands(urlsplit(server).netloc, networks).items():
        if command[0] not in running:
            start(name, command)
        if name == "containerd":
            until(SOCKET_SECONDS, OperationError)(_ctr, "version")
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
    node_machine.take_in(daemon.pid)


def _under_systemd(name: str, command: list[str], environment: dict[str, str]) -> None:
    log = node_files.LOGS / f"{name}.log"
    done = subprocess.run(
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
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise OperationError(f"systemd does not start {name}: {done.stderr.strip()}")


def _import_images() -> None:
    for image in images.IMAGES:
        # Pinned, so that the kubelet never removes what cannot be fetched again.
        _ctr("-n", "k8s.io", "images", "import", "--label", "io.cri-containerd.pinned=pinned",
             str(TOOLS / "images" / image.file))  # fmt: skip


def _ctr(*arguments: str) -> None:
    try:
        done = subprocess.run(
            [str(places.BIN / "ctr"), "--address", str(node_files.SOCKET), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=CTR_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise OperationError(f"containerd does not answer within {CTR_SECONDS} s") from error
    if done.returncode:
        raise OperationError(f"ctr {' '.join(arguments)} failed: {done.stderr.strip()[-500:]}")


def _wait_until_ready(stack: str) -> None:
    from checks.cluster import wait_for_nodes  # the Kubernetes client takes a while to load
    from checks.kube import Kube
    from checks.result import NotSo

    kube = Kube(str(RUN / stack / "kubeconfig"))

    def answers() -> None:
        """Asked through the API server: the node's status may be older than its kubelet."""
        try:
            kube.text(f"/api/v1/nodes/{places.NODE}/proxy/healthz")
        except NotSo as error:
            raise OperationError(
                f"the kubelet of the host node does not answer: {error}"
            ) from error

    until(READY_SECONDS, OperationError)(answers)
    try:
        wait_for_nodes(kube, [places.NODE], READY_SECONDS)
    except NotSo as error:
        raise OperationError(f"the host node does not become ready: {error}") from error


def _server(stack: str) -> str:
    return str(identity.facts(stack)["server"])


def _pki(stack: str) -> Path:
    return embedded.pki(RUN / stack, stack)


def _last_words(stack: str) -> str:
    """The last errors of the daemons, for a person, and where all of their logs are kept."""
    logs = sorted(node_files.LOGS.glob("*.log"))
    return failed_start.last_errors(logs, 3, "level=error") + failed_start.keep(stack, logs)


# --- removing --------------------------------------------------------------------------------


def _remove() -> None:
    """End and remove all of a node, whole or half-made; owner.json goes last."""
    known = owner()
    if not known:
        return
    _stop_daemons()
    left = stop([*node_machine.grouped(), *places.processes()])
    if left:
        numbers = ", ".join(str(process.pid) for process in left)
        raise OperationError(f"processes of the host node do not end: {numbers}")
    node_machine.unmount()
    node_network.remove()
    node_machine.remove_groups()
    with suppress(OperationError):
        gpu_host.reset_compute_mode()
    node_machine.remove_folders(places.RUNTIME, places.KUBELET)
    node_machine.put_back(known["before"])
    if found := leftovers():
        raise OperationError(f"the host node left {', '.join(found)}")
    node_machine.remove_folders(places.STATE)


def _stop_daemons() -> None:
    """One after the other, so that none works on what another has left."""
    for name in STOP:
        if SYSTEMD.exists():
            unit = UNIT.format(name)
            subprocess.run(["systemctl", "stop", unit], check=False, capture_output=True)
        program = str(places.BIN / name)
        stop([p for p in places.processes() if p.info["cmdline"][0] == program])


def leftovers() -> list[str]:
    """What is still there of a node that was removed, for a person."""
    return [
        *(f"process {process.pid}" for process in places.processes()),
        *(f"mount {point}" for point in node_machine.mounts()),
        *(f"interface {name}" for name in node_network.left()),
        *(f"group {group}" for group in node_machine.groups()),
        *(f"file {path}" for path in node_machine.own_files()),
    ]
