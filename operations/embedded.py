"""Makes and removes an embedded cluster: kwokctl's binary runtime on loopback.

All of a cluster's files are in `.run/<stack>/`: kubeconfig, cluster.json (the facts that the
stack exports), log, and kwokctl's own folder with certificates, data and logs.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import filelock
import psutil
import tenacity
import urllib3
import yaml

from checks.kube import OK, Kube
from checks.result import NotSo
from components.cluster.life import FACTS, LIFE, RUN
from operations.errors import OperationError
from toolchain import cache

BIN = Path(".tools/bin")
PORTS = range(31999, 20000, -1)
"""Below the ephemeral ports, so that no outgoing connection sits on one after a restart."""
COMPONENTS = (
    "kube-apiserver",
    "etcd",
    "etcd-peer",
    "kwok-controller",
    "kube-controller-manager",
    "kube-scheduler",
)
PROCESSES = 5
WORKDIR = "KWOK_WORKDIR"
"""Environment variable that tells kwokctl where the cluster's files are."""
LEASE_SECONDS = 8
READY_SECONDS = 60
USABLE_SECONDS = 30


@dataclass(frozen=True)
class Specification:
    """What to make; whatever is in it forces a new cluster when it changes.

    gates and runtime_config are "Name=true" strings. The version is checked by module 0.
    """

    stack: str
    kubernetes_version: str
    feature_gates: list[str]
    runtime_config: list[str]


def revive(wanted: Specification, life: str) -> None:
    """Start what ended of a whole cluster, and note the life that it is in from now on.

    Raises OperationError with the way out if the cluster's files are gone.
    """
    if not _facts(RUN / wanted.stack):
        raise OperationError(
            f"the files of cluster {wanted.stack} are gone, and all that was on it; run: "
            f"make destroy STACK={wanted.stack}, then: make up STACK={wanted.stack}"
        )
    up(wanted)
    (RUN / wanted.stack / LIFE).write_text(life)


def up(wanted: Specification) -> dict[str, Any]:
    """Have the cluster running as specified; returns its facts.

    One that runs as specified is left alone, one whose processes ended is started again with
    its data, and anything else in its place, half-made or differently made, is removed first.
    Raises OperationError, having removed what it made, with the reason from the logs.
    """
    folder = RUN / wanted.stack
    facts = _facts(folder)
    if facts.get("specification") != asdict(wanted):
        return _create(wanted, folder)
    if len(processes(folder)) < PROCESSES:
        _forget_dead(folder)
        done = _kwokctl(["start", "cluster", "--name", wanted.stack], folder)
        if done.returncode:
            raise OperationError(
                f"the control plane of {wanted.stack} does not start again{_reason(folder)}"
            )
        _wait_until_usable(folder, facts["ports"])
    return facts


def _forget_dead(folder: Path) -> None:
    """Remove the records of processes that ended.

    kwokctl takes a process for running when its number exists, which a zombie's does, and after
    a reboot a stranger's.
    """
    alive = {str(process.pid) for process in processes(folder)}
    for record in folder.glob("kwok/clusters/*/pids/*.pid"):
        if record.read_text().strip() not in alive:
            record.unlink()


def _facts(folder: Path) -> dict[str, Any]:
    """What is known of a cluster in that folder; written last, so a half-made one has none."""
    try:
        found: dict[str, Any] = json.loads((folder / FACTS).read_text())
    except (OSError, ValueError):
        return {}
    return found


def _create(wanted: Specification, folder: Path) -> dict[str, Any]:
    started = time.monotonic()
    down(wanted.stack)
    folder.mkdir(parents=True)
    try:
        ports = _start(wanted, folder)
        _wait_until_usable(folder, ports)
    except BaseException as error:
        reason = _reason(folder)
        down(wanted.stack)
        if isinstance(error, OperationError):
            raise OperationError(f"{error}{reason}") from error
        raise
    facts = {
        "kind": "embedded",
        "name": wanted.stack,
        "kubeconfig": str(folder / "kubeconfig"),
        "server": _server(folder / "kubeconfig"),
        "specification": asdict(wanted),
        "ports": ports,
        # Distinguishes this cluster from earlier and later ones of the same name.
        "incarnation": secrets.token_hex(4),
        "seconds": round(time.monotonic() - started, 1),
    }
    (folder / FACTS).write_text(json.dumps(facts, indent=2) + "\n")
    return facts


def down(stack: str) -> None:
    """Stop the cluster's processes and remove its files; nothing there is no error.

    Raises OperationError that names a process or file that is left.
    """
    folder = RUN / stack
    _stop(_makers(folder))
    if folder.exists():
        _kwokctl(["delete", "cluster", "--name", stack], folder)
    left = _stop(processes(folder))
    if left:
        numbers = ", ".join(str(process.pid) for process in left)
        raise OperationError(f"processes of cluster {stack} do not end: {numbers}")
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise OperationError(f"{folder} cannot be removed; remove it by hand and try again")


def processes(folder: Path) -> list[psutil.Process]:
    """The processes whose program lies in the cluster's folder."""
    mark = f"{folder.resolve()}{os.sep}"
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"]
        if command and command[0].startswith(mark):
            found.append(process)
    return found


def _makers(folder: Path) -> list[psutil.Process]:
    """What is still making the cluster: a kwokctl goes on when the program over it is killed."""
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "kwokctl":
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if process.environ().get(WORKDIR) == str((folder / "kwok").absolute()):
                    found.append(process)
    return found


def _stop(running: Sequence[psutil.Process]) -> list[psutil.Process]:
    """End the processes, politely first; returns those that are still there."""
    for process in running:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, stubborn = psutil.wait_procs(running, timeout=5)
    for process in stubborn:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _, left = psutil.wait_procs(stubborn, timeout=5)
    return list(left)


def _start(wanted: Specification, folder: Path) -> dict[str, int]:
    cache.folder().mkdir(parents=True, exist_ok=True)
    # Between choosing ports and listening on them nobody else may choose the same.
    with filelock.FileLock(cache.folder() / "ports.lock"):
        ports = _free_ports()
        arguments = [
            "create",
            "cluster",
            "--name",
            wanted.stack,
            "--runtime",
            "binary",
            "--kubeconfig",
            str(folder / "kubeconfig"),
            "--kube-apiserver-port",
            str(ports["kube-apiserver"]),
            "--etcd-port",
            str(ports["etcd"]),
            "--controller-port",
            str(ports["kwok-controller"]),
            "--kube-controller-manager-port",
            str(ports["kube-controller-manager"]),
            "--kube-scheduler-port",
            str(ports["kube-scheduler"]),
            "--disable-qps-limits",
            # A kwok that was started again takes a node over when its old lease has ended.
            "--heartbeat-factor",
            "1",
            "--node-lease-duration-seconds",
            str(LEASE_SECONDS),
            "--enable-crds",
            "Stage",
            "--kube-feature-gates",
            ",".join(wanted.feature_gates),
            "--kube-runtime-config",
            ",".join(wanted.runtime_config),
            "--wait",
            f"{READY_SECONDS}s",
            "--timeout",
            f"{READY_SECONDS}s",
        ]
        for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"):
            arguments += [f"--{name}-binary", str((BIN / name).absolute())]
        arguments += ["--kwok-controller-binary", str((BIN / "kwok").absolute())]
        for extra in _extra_arguments(ports):
            arguments += ["--extra-args", extra]
        done = _kwokctl(arguments, folder)
    if done.returncode:
        raise OperationError(f"the control plane of {wanted.stack} did not start")
    return ports


def _extra_arguments(ports: dict[str, int]) -> Iterator[str]:
    """What kwokctl has no option for: loopback only, and no election where there is one of each.

    By default it listens on every address, etcd even without a password; and a scheduler that
    was started again would wait for the lease of its killed forerunner to end. Each component
    comes once before one is repeated: kwokctl 0.8.0 panics otherwise.
    """
    peer = f"http://127.0.0.1:{ports['etcd-peer']}"
    client = f"http://127.0.0.1:{ports['etcd']}"
    yield f"etcd=listen-client-urls={client}"
    yield "kube-apiserver=bind-address=127.0.0.1"
    yield "kube-controller-manager=bind-address=127.0.0.1"
    yield "kube-scheduler=bind-address=127.0.0.1"
    yield f"kwok-controller=server-address=127.0.0.1:{ports['kwok-controller']}"
    yield "kube-controller-manager=leader-elect=false"
    yield "kube-scheduler=leader-elect=false"
    yield f"etcd=advertise-client-urls={client}"
    yield f"etcd=listen-peer-urls={peer}"
    yield f"etcd=initial-advertise-peer-urls={peer}"
    yield f"etcd=initial-cluster=node0={peer}"


def _free_ports() -> dict[str, int]:
    """A free loopback port for every component; raises OperationError when there are too few."""
    with ExitStack() as held:
        free: list[int] = []
        for port in PORTS:
            listener = held.enter_context(socket.socket())
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            free.append(port)
            if len(free) == len(COMPONENTS):
                return dict(zip(COMPONENTS, free, strict=True))
    raise OperationError(
        f"fewer than {len(COMPONENTS)} ports from {PORTS[-1]} to {PORTS[0]} are "
        "free; end some of the programs that listen there"
    )


def _kwokctl(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {WORKDIR: str((folder / "kwok").absolute())}
    # A file, not a pipe: the daemons inherit it, and a pipe would keep the Command waiting.
    with (folder / "log").open("ab") as log:
        return subprocess.run(
            [str(BIN / "kwokctl"), *arguments],
            env=environment,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _reason(folder: Path) -> str:
    """The last errors of the control plane, for a person."""
    errors: list[str] = []
    for log in sorted(folder.rglob("*log")):
        if log.is_file():
            lines = log.read_text(errors="replace").splitlines()
            telling = [line for line in lines if line.startswith(("E", "F")) or "error" in line]
            errors += [f"\n  {log.name}: {line[:300]}" for line in telling[-2:]]
    return "".join(errors)


def _server(kubeconfig: Path) -> str:
    server: str = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    return server


def _wait_until_usable(folder: Path, ports: dict[str, int]) -> None:
    """Wait for what kwokctl does not: API descriptions, the account that pods run under, and a
    scheduler that has all it watches.

    Raises OperationError at the deadline.
    """
    kube = Kube(str(folder / "kubeconfig"))
    for attempt in tenacity.Retrying(
        stop=tenacity.stop_after_delay(USABLE_SECONDS),
        wait=tenacity.wait_fixed(0.1),
        retry=tenacity.retry_if_exception_type(NotSo),
        retry_error_callback=_unusable,
    ):
        with attempt:
            kube.get(kube.core.read_namespaced_service_account, "default", "default")
            kube.text("/openapi/v3")
            _ask_scheduler(ports["kube-scheduler"])


def _ask_scheduler(port: int) -> None:
    """Raises NotSo unless the scheduler is ready; a gate whose API is not served keeps it so."""
    pool = urllib3.PoolManager(cert_reqs="CERT_NONE")  # its certificate is its own, on loopback
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
        try:
            answer = pool.request("GET", f"https://127.0.0.1:{port}/readyz", retries=False)
        except urllib3.exceptions.HTTPError as error:
            raise NotSo(f"the scheduler cannot be reached: {error}") from error
    if answer.status != OK:
        failed = [line for line in answer.data.decode().splitlines() if line.startswith("[-]")]
        raise NotSo(
            f"the scheduler is not ready ({', '.join(failed)}); a feature gate may need an API "
            "that only runtimeConfig switches on"
        )


def _unusable(state: tenacity.RetryCallState) -> None:
    reason = state.outcome.exception() if state.outcome else None
    raise OperationError(f"the control plane does not become usable: {reason}")
