"""Makes and removes an embedded cluster: kwokctl's binary runtime on loopback.

`.run/<stack>/` has its kubeconfig, cluster.json (the facts that the stack exports), log, and
kwokctl's own folder with certificates, data and logs.
"""

import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from machine import cluster_state, failed_start, identity
from machine.cluster_state import KUBECONFIG, RUN, START_ID, make_folder, processes
from machine.errors import LabError, removed_on_failure
from machine.files import write_text
from machine.host_networks import Networks
from machine.processes import stop
from machine.waiting import locked
from operations import common
from operations.embedded import kwokctl_config, webhook
from operations.embedded.ports import free_ports, require_ports
from toolchain import cache
from toolchain.errors import disk_full

BIN = Path(".tools/bin")
PORTS_LOCK = "ports.lock"
PROCESSES = 6
"""etcd, the three of the control plane, kwok, and the driver's webhook."""
WORK = "kwok"
LEASE_SECONDS = 8
STARTING, PORTS_SECONDS = "the start of another cluster", 120
"""Several labs may be made at once, one control plane after the other. The time is shorter than
Pulumi waits for the Command, so that our message is the one that is shown."""
READY_SECONDS = 60
USABLE_SECONDS = 40
FULL = 1e7
"""Bytes: where so few are free a control plane does not start, nor can its logs say why."""


@dataclass(frozen=True)
class Specification:
    """What to make; whatever is in it forces a new cluster when it changes.

    gates and runtime_config: "Name=true" strings; stages: digest of the files by which kwok runs
    simulated nodes; networks: as in Networks, of a host node; recipe: see cluster_state.RECIPE.
    """

    stack: str
    kubernetes_version: str
    feature_gates: list[str]
    runtime_config: list[str]
    stages: str
    networks: dict[str, str] = field(default_factory=dict)
    recipe: int = 1


def create(wanted: Specification) -> dict[str, Any]:
    """Make the cluster and return its facts. An earlier one of its name is never kept: Pulumi knows
    of none, so it is half-made, differently made, or has objects that nobody knows any more.

    Raises LabError, having removed what it made, with the reason from the logs.
    """
    started = time.monotonic()
    stack, folder = wanted.stack, RUN / wanted.stack
    down(stack)
    with removed_on_failure(partial(down, stack), partial(_last_words, stack)):
        make_folder(stack)
        ports = _start(wanted, folder)
        own = {"folder": str(folder.resolve()), "ports": ports, "processes": PROCESSES}
        own["webhook"] = webhook.address(pki(folder, stack), ports[webhook.COMPONENT])
        return common.write_facts(wanted, started, kind="embedded", name=stack, **own)


def revive(stack: str, cluster_id: str, start_id: str, webhook_gates: str = "") -> None:
    """Restart what ended of a whole cluster, and its webhook where that knows other gates ("": it
    keeps its own), and note the id of this start. Raises LabError with the way out if the cluster,
    one of its files or ports is lost, or if it does not start."""
    common.require_not_being_removed(stack)
    folder = RUN / stack
    facts = identity.facts(stack)
    if cluster_state.was_moved(folder, facts):
        raise LabError(
            f"the checkout was moved: cluster {stack} was made in {facts['folder']}, and its "
            f"certificates are looked for there; run: {common.make_anew(stack)}"
        )
    kept = folder / WORK / "clusters" / stack
    whole = all((kept / part).exists() for part in ("kwok.yaml", "pki", "etcd"))
    if not whole or facts.get("cluster_id") != cluster_id:
        raise LabError(
            f"the files of cluster {stack} are gone, and all that was on it",
            f"run: {common.make_anew(stack)}",
        )
    make_folder(stack)
    if not (folder / KUBECONFIG).exists():
        shutil.copy2(kept / "kubeconfig.yaml", folder / KUBECONFIG)
    _tell_webhook(folder, webhook_gates or webhook.gates(folder))
    if len(processes(folder)) < facts["processes"]:
        _restart(stack, folder, facts["ports"])
    write_text(folder / START_ID, start_id)


def tell_webhook(stack: str, gates: str) -> None:
    """Have the webhook of a cluster that runs know these gates of the driver."""
    _tell_webhook(RUN / stack, gates)
    _wait_until_usable(stack, RUN / stack, identity.facts(stack)["ports"])


def _tell_webhook(folder: Path, gates: str) -> None:
    """A running one knows the gates that it was started with: with others it has to end."""
    if webhook.gates(folder) != gates:
        stop([process for process in processes(folder) if process.name() == webhook.COMPONENT])
        # Not before: where this is killed, the next start has to find that they differ.
        write_text(folder / webhook.GATES, gates)


def _restart(stack: str, folder: Path, ports: dict[str, int]) -> None:
    if shutil.disk_usage(folder).free < FULL:  # etcd would try for minutes
        raise LabError(f"the control plane of {stack} cannot be started{_reason(folder)}")
    with locked(cache.folder() / PORTS_LOCK, STARTING, PORTS_SECONDS):
        require_ports(stack, folder, ports)
        _forget_dead(folder)
        if _kwokctl(["start", "cluster", "--name", stack], folder).returncode:
            raise LabError(
                f"the control plane of {stack} does not start again{_reason(folder)}\n"
                f"  all logs: make logs STACK={stack}"
            )
        _wait_until_usable(stack, folder, ports)


def _forget_dead(folder: Path) -> None:
    """Remove the records of processes that ended. kwokctl takes one for running when its number
    exists, which a zombie's does, and after a reboot a stranger's."""
    alive = {str(process.pid) for process in processes(folder)}
    for record in folder.glob("kwok/clusters/*/pids/*.pid"):
        if record.read_text().strip() not in alive:
            record.unlink()


def down(stack: str) -> None:
    """Stop the cluster's processes and remove its files; nothing there is no error. Raises LabError
    that names what remains."""
    folder = RUN / stack
    stop(cluster_state.makers(folder))
    if (folder / WORK).exists():
        _kwokctl(["delete", "cluster", "--name", stack], folder)
    common.end(processes(folder), f"cluster {stack}")
    common.remove_folder(folder)


def _start(wanted: Specification, folder: Path) -> dict[str, int]:
    cache.folder().mkdir(parents=True, exist_ok=True)
    # Between choosing ports and listening on them nobody else may choose the same, and kwokctl
    # returns before they are listened on.
    with locked(cache.folder() / PORTS_LOCK, STARTING, PORTS_SECONDS):
        ports = free_ports(folder)
        arguments = [
            *("create", "cluster", "--name", wanted.stack, "--runtime", "binary"),
            *("--kubeconfig", str(folder / KUBECONFIG)),
            *("--controller-port", str(ports["kwok-controller"])),
            *("--kwok-controller-binary", str((BIN / "kwok").absolute())),
            "--disable-qps-limits",
            # A kwok that was started again takes a node over when its old lease has ended.
            *("--heartbeat-factor", "1", "--node-lease-duration-seconds", str(LEASE_SECONDS)),
            *("--kube-feature-gates", ",".join(wanted.feature_gates)),
            *("--kube-runtime-config", ",".join(wanted.runtime_config)),
            *("--timeout", f"{READY_SECONDS}s"),
        ]
        for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"):
            arguments += [f"--{name}-port", str(ports[name])]
            arguments += [f"--{name}-binary", str((BIN / name).absolute())]
        networks = Networks(**wanted.networks)
        own = kwokctl_config.write(folder, ports, pki(folder, wanted.stack), networks)
        # Not as objects on the cluster: kwok asks for those before their API is served, and then
        # not again for five seconds.
        for config in (*sorted(cluster_state.STAGES.glob("*.yaml")), own):
            arguments += ["--config", str(config)]
        if _kwokctl(arguments, folder).returncode:
            raise LabError(f"the control plane of {wanted.stack} did not start")
        _wait_until_usable(wanted.stack, folder, ports)
    return ports


def pki(folder: Path, name: str) -> Path:
    """The cluster's authority and the certificate of its administrator."""
    return (folder / WORK / "clusters" / name / "pki").absolute()


def _wait_until_usable(stack: str, folder: Path, ports: dict[str, int]) -> None:
    if webhook.COMPONENT in ports:  # clusters of earlier versions have none
        program, port = BIN / webhook.COMPONENT, ports[webhook.COMPONENT]
        webhook.start(program, folder, pki(folder, stack), port, _environment(folder))
    # The Kubernetes client takes half a second to load, and removing a cluster needs none.
    from operations import readiness

    readiness.wait_until_usable(folder / KUBECONFIG, USABLE_SECONDS, ports)


def _environment(folder: Path) -> dict[str, str]:
    """Of the cluster's processes."""
    # The control plane speaks to itself and to nodes of this machine: never through a proxy.
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.lower().endswith("_proxy") and key != "KWOK_WORKDIR"
    }
    # It keeps the cluster's files in `.kwok` of its home. KWOK_WORKDIR, which is meant for that, it
    # reads up to the first space only (0.8.0).
    return kept | {"HOME": str(folder.absolute()), identity.MARK: identity.of(folder.name)}


def _kwokctl(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[bytes]:
    (folder / WORK).mkdir(exist_ok=True)
    if not (folder / f".{WORK}").exists():
        (folder / f".{WORK}").symlink_to(WORK)
    # A file, not a pipe: the daemons inherit it, and a pipe would keep the Command waiting.
    with (folder / "log").open("ab") as log:
        return subprocess.run(
            [str(BIN / "kwokctl"), *arguments],
            env=_environment(folder),
            umask=0o077,  # it writes its keys for all to read
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _reason(folder: Path) -> str:
    if shutil.disk_usage(folder).free < FULL:
        return f": {disk_full(folder)}"
    return failed_start.last_errors(_logs(folder), 2)


def _last_words(stack: str) -> str:
    """The same of one that is about to be removed, and where all of its logs are kept."""
    folder = RUN / stack
    return _reason(folder) + failed_start.keep(stack, _logs(folder))


def _logs(folder: Path) -> list[Path]:
    return [log for log in sorted(folder.rglob("*log")) if log.is_file()]
