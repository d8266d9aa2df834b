"""A real node on this machine: kubelet, containerd and runc beside an embedded control plane.

There is one at a time, whose owner is noted in a file of the machine. Its daemons run detached,
under systemd where there is one; elsewhere the next update starts a lost one again. It needs no
Docker and no registry, and does not touch what is installed on the machine.
"""

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from kube.errors import KubeError
from machine import failed_start, gpu_host, host_bridge, host_machine, identity
from machine import host_places as places
from machine.cluster_state import RUN, processes, was_moved
from machine.errors import LabError, removed_on_failure
from machine.files import write_json
from machine.host_networks import Networks
from machine.host_node import SYSTEMD, TOOLS, facts_of, is_ours, leftovers, owner, require_usable
from machine.run import run_program
from machine.waiting import locked, until
from operations import common
from operations.embedded import cluster as embedded
from operations.host_node import daemons, node_files
from toolchain import host
from toolchain.errors import SetupError
from toolchain.layout import ROOT
from toolchain.mocked_driver import build, root

LOCK = Path("/run/lock/dra-workshop-node.lock")
PROGRAMS = ("containerd", daemons.SHIM, "ctr", "runc", "kubelet", "node-proxy")
CNI_PLUGINS = ("bridge", "host-local", "loopback")
DRIVER_ROOT = places.RUNTIME / "gpu" / "driver"
"""Of a driver that does not lie under "/" as distributions have it."""
READY_SECONDS = 60
NODE_SECONDS = 90
"""Shorter than Pulumi waits for any Command that takes the lock, so that our message is shown."""


@dataclass(frozen=True)
class Specification:
    """cluster: the cluster id of the control plane that it joins; another one, another node.
    networks: as in Networks, {} for those of the default. mocked: GPUs as in MockedGpu that the
    node has in the place of the machine's, [] for the machine's own."""

    stack: str
    cluster: str
    networks: dict[str, str] = field(default_factory=dict)
    mocked: list[dict[str, Any]] = field(default_factory=list)


def make(wanted: Specification) -> dict[str, Any]:
    """Make the node anew, have it join the stack's cluster, and return its facts.

    Raises LabError, having removed what it made, with the reason from the logs, and before anything
    is changed if the machine already has a kubelet or the node of another stack.
    """
    started = time.monotonic()
    with _alone():
        require_usable(wanted.stack, Networks(**wanted.networks))
        _remove()
        with removed_on_failure(_remove, partial(_last_words, wanted.stack)):
            _take(wanted.stack)
            _lay_out()
            facts = _join(wanted, started)
            write_json(RUN / wanted.stack / places.FACTS, facts)
    return facts


def _join(wanted: Specification, started: float) -> dict[str, Any]:
    driver, gpus = find_gpus(wanted.mocked)
    networks, server = Networks(**wanted.networks), _server(wanted.stack)
    driver_root = _prepare(driver, networks)
    node_files.write(server, embedded.pki(RUN / wanted.stack, wanted.stack), networks)
    daemons.start_daemons(server, networks, daemons.import_images)
    _wait_until_ready(wanted.stack)
    return {
        "name": places.NODE,
        "kind": "host",
        "specification": asdict(wanted),
        "gpus": [gpu.facts() for gpu in gpus],
        "driverRoot": driver_root,
        # A mocked GPU is not to be taken for one, nor its driver.
        "mocked": bool(wanted.mocked),
        "driverVersion": driver.version if driver and not wanted.mocked else "",
        "supervisor": "systemd" if SYSTEMD.exists() else "the next update",
        "cluster_id": secrets.token_hex(4),
        "seconds": round(time.monotonic() - started, 1),
    }


def revive(stack: str, cluster_id: str, start_id: str) -> None:  # noqa: ARG001, another start, another run
    """Start what ended of the node. Raises LabError with the way out if it is not whole."""
    with _alone():
        facts = facts_of(stack)
        files = (node_files.CONTAINERD, node_files.KUBELET, node_files.KUBECONFIG, places.OWNER)
        if facts.get("cluster_id") != cluster_id or not all(path.exists() for path in files):
            raise LabError(
                f"the files of the host node of stack {stack} are gone",
                f"run: {common.make_anew(stack)}",
            )
        host_machine.make_folders()
        made = Specification(**facts["specification"])
        driver, _ = find_gpus(made.mocked)
        # Those it was made with: addresses are in its files, and in the cluster's certificates.
        networks = Networks(**made.networks)
        _prepare(driver, networks)
        daemons.end_orphans()
        daemons.start_daemons(_server(stack), networks)
        _wait_until_ready(stack)


def remove(stack: str) -> None:
    """Remove the node if it is this stack's; nothing there is no error. Raises LabError that names
    what is left."""
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


@contextmanager
def _alone() -> Iterator[None]:
    try:
        LOCK.parent.mkdir(parents=True, exist_ok=True)
        with locked(LOCK, "the set-up or removal of this machine's node", NODE_SECONDS):
            yield
    except PermissionError as error:
        raise LabError("a host node needs root; run the same command with sudo") from error


def _take(stack: str) -> None:
    host_machine.make_folders()
    known = {"stack": stack, "project": str(ROOT), "lab": identity.of(stack)}
    write_json(places.OWNER, known | {"before": host_machine.noted()})


def find_gpus(
    mocked: list[dict[str, Any]],
) -> tuple[gpu_host.Driver | None, list[gpu_host.Gpu]]:
    """The driver and the GPUs of this machine, or the mocked ones in a driver root that is laid
    out for them; a lab that needs none goes on without."""
    try:
        driver = mocked_driver(mocked) if mocked else gpu_host.find(gpu_host.cdi_spec())
    except gpu_host.NoDriver:
        return None, []
    return driver, gpu_host.gpus(driver)


def mocked_driver(gpus: list[dict[str, Any]]) -> gpu_host.Driver:
    """The driver with these GPUs. A whole root is kept: containers may have it mounted."""
    try:
        made = (DRIVER_ROOT / "dev" / root.CONTROL).exists() or root.lay_out(
            DRIVER_ROOT, build.built(), [root.MockedGpu(**gpu) for gpu in gpus]
        )
    except SetupError as error:
        raise LabError(str(error)) from error
    if not made:
        raise LabError("mocked GPUs need device nodes, which this machine lets nobody make (mknod)")
    usr = DRIVER_ROOT / "usr"
    return gpu_host.Driver(usr / "bin", usr / "lib64", build.DRIVER_VERSION)


def _lay_out() -> None:
    """Copies of the programs: set-up may change its own while the node runs."""
    places.BIN.mkdir(exist_ok=True)
    sources = [TOOLS / "bin" / name for name in PROGRAMS]
    for source in [*sources, *(TOOLS / "cni" / name for name in CNI_PLUGINS)]:
        try:
            shutil.copy2(source, places.BIN / source.name)
        except FileNotFoundError as error:
            raise LabError(f"{source} is missing; {host.REMEDY}") from error
    if restorecon := shutil.which("restorecon"):  # else copies have the label of what was copied
        run_program([restorecon, "-R", str(places.BIN)], check=False)


def _prepare(driver: gpu_host.Driver | None, networks: Networks) -> str:
    """Have network, groups and mounts, which a reboot removes; returns the driver's root."""
    host_bridge.make(networks)
    host_machine.make_groups()
    host_machine.share(places.KUBELET)
    if driver is None:
        return ""
    if driver.usual:
        host_machine.share_root()
        return "/"
    # The plugin's pod mounts the folder above its driver root too.
    host_machine.share(DRIVER_ROOT.parent)
    for source, name in ((driver.programs, "bin"), (driver.libraries, "lib64")):
        if source != DRIVER_ROOT / "usr" / name:  # a mocked driver lies there
            host_machine.bind(source, DRIVER_ROOT / "usr" / name)
    return str(DRIVER_ROOT)


def _wait_until_ready(stack: str) -> None:
    from kube.client import Kube
    from kube.conditions import wait_for_nodes

    kube = Kube(str(RUN / stack / "kubeconfig"))
    with common.prefixed("the kubelet of the host node does not answer"):
        # Through the API server: the node's status may be older than its kubelet.
        until(READY_SECONDS, KubeError)(kube.text, f"/api/v1/nodes/{places.NODE}/proxy/healthz")
    with common.prefixed("the host node does not become ready"):
        wait_for_nodes(kube, [places.NODE], READY_SECONDS)


def _server(stack: str) -> str:
    return str(identity.facts(stack)["server"])


def _last_words(stack: str) -> str:
    logs = sorted(node_files.LOGS.glob("*.log"))
    return failed_start.last_errors(logs, 3, "level=error") + failed_start.keep(stack, logs)


def _remove() -> None:
    """End and remove all of a node, whole or half-made; owner.json goes last."""
    known = owner()
    if not known:
        return
    daemons.stop_daemons()
    common.end([*host_machine.grouped(), *places.processes()], "the host node")
    host_machine.unmount()
    host_bridge.remove()
    host_machine.remove_groups()
    with suppress(LabError):
        gpu_host.reset_compute_mode()
    host_machine.remove_folders(places.RUNTIME, places.KUBELET)
    host_machine.put_back(known["before"])
    if found := leftovers():
        raise LabError(f"the host node left {', '.join(found)}")
    host_machine.remove_folders(places.STATE)
