"""Brings a stack whose update was killed back to where an update or a removal can go on.

A killed engine leaves a lock, provider processes that go on, operations that its state calls
pending, and a Helm release that is half made or that the state does not know. All of it is settled
here; an intact stack costs two looks at files.
"""

import json
import socket
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from machine import cluster_state, identity
from machine.errors import LabError
from machine.files import PRIVATE, write_text
from machine.programs import MARK, PYTHON
from machine.waiting import locked
from operations import common
from operations.stack.engine import NAMESPACE, RELEASE, STACK, STATE, pulumi
from results import broken_off
from toolchain.layout import ROOT

ENGINE = "pulumi"
PLUGINS = ("pulumi-resource-", "pulumi-language-")


@dataclass(frozen=True)
class Lock:
    """Who holds a stack: what the engine writes down before it begins. since: RFC 3339."""

    pid: int
    host: str
    user: str
    since: str

    @property
    def held(self) -> bool:
        """Whether that engine still runs here; its number may be another program's by now."""
        try:
            process = psutil.Process(self.pid)
            began = datetime.fromisoformat(self.since).timestamp()
            ended = process.status() == psutil.STATUS_ZOMBIE  # nobody has asked how
            return process.name() == ENGINE and not ended and process.create_time() <= began + 1
        except psutil.NoSuchProcess:
            return False


def recover(stack: str) -> list[str]:
    """Settle what a killed update of the stack left; returns what was done, one line each. Raises
    LabError, having changed nothing, if an update of the stack is running."""
    with _alone(stack):
        locks = held_by(stack)
        for lock in locks:
            _require_ended(stack, lock)
        done = end(orphans())
        drop_half_written(stack)
        done += repair(stack)
        # What the engine was doing when it was killed.
        pending = identity.deployment(stack).get("pending_operations") or []
        for operation in pending:
            done += settle(stack, operation)
        if locks or pending:
            cluster_state.end(stack)
        # The lock and the operations go last: a recovery that is itself killed is taken up again.
        if locks:
            began = min(datetime.fromisoformat(lock.since).timestamp() for lock in locks)
            broken_off.keep(stack, began, f"the update was killed ({_names(locks)})")
            pulumi("cancel", "--yes", "--stack", stack, quiet=True)
            done.append(f"removed the lock of {_names(locks)}, which ended without removing it")
        if pending:
            _take_in(stack, lambda _: None)  # Pulumi drops them when it takes in a state
            done.append(f"cleared {len(pending)} operations that were never finished")
        return done


def _alone(stack: str) -> AbstractContextManager[None]:
    return locked(STATE / f"{stack}.recover.lock", f"the recovery of stack {stack}")


def _locks_of(stack: str) -> Path:
    return STATE / ".pulumi" / "locks" / "organization" / "dra-workshop" / stack


def held_by(stack: str) -> list[Lock]:
    """The locks on the stack, whether or not their holders still run."""
    found = []
    for path in sorted(_locks_of(stack).glob("*.json")):
        with suppress(FileNotFoundError):  # it was given back meanwhile
            found.append(_parse_lock(path.read_text()))
    return found


def _parse_lock(text: str) -> Lock:
    try:
        noted = json.loads(text)
        return Lock(noted["pid"], noted["hostname"], noted["username"], noted["timestamp"])
    except (ValueError, KeyError):  # its engine was killed as it wrote this
        return Lock(0, socket.gethostname(), "somebody", datetime.now(UTC).isoformat())


def _require_ended(stack: str, lock: Lock) -> None:
    if lock.held:  # also where the machine got another name meanwhile
        raise LabError(
            f"stack {stack} is in use by process {lock.pid} of {lock.user} since {lock.since}; "
            "wait for it, or end it with ctrl-c in its terminal"
        )
    if lock.host != (here := socket.gethostname()):
        raise LabError(
            f"stack {stack} is locked by process {lock.pid} of {lock.user} on {lock.host} since "
            f"{lock.since}; if it has ended there, or {here} is a new name of that machine, run: "
            f"source .tools/env && pulumi cancel --yes --stack {stack}"
        )


def _names(locks: list[Lock]) -> str:
    return " and ".join(f"process {lock.pid}" for lock in locks)


def orphans() -> list[psutil.Process]:
    """What an engine started in this checkout and that outlived it, with what it started. The
    cluster's own processes are not among them: they are meant to outlive it."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if _of_an_engine(process) and not any(p.name() == ENGINE for p in process.parents()):
                found += [process, *process.children(recursive=True)]
    return found


def _of_an_engine(process: psutil.Process) -> bool:
    plugin = process.name().startswith(PLUGINS)
    program = process.cmdline()[:2] == [PYTHON, "-m"] and MARK in process.environ()
    return (plugin or program) and process.cwd() == str(ROOT)


def end(orphaned: list[psutil.Process]) -> list[str]:
    """End them: nobody takes down any more what they do."""
    common.end(orphaned, "a killed update")
    count = len(orphaned)
    return [f"ended {count} processes of an update that was killed"] if count else []


def drop_half_written(stack: str) -> None:
    """Remove checksums of the state and the locks that a kill left empty: the engine fails on them
    ("EOF"), and goes on without."""
    for folder in (identity.state_of(stack).parent, _locks_of(stack)):
        for path in folder.glob("*.attrs"):
            if not _is_json(path):
                path.unlink()


def repair(stack: str) -> list[str]:
    """Have a state that can be read: a full disk leaves half of one. The engine keeps the one of
    before its last operation; without that the stack begins anew, and the cluster with it."""
    path = identity.state_of(stack)
    older = path.with_name(f"{path.name}.bak")
    if not path.exists() or _is_json(path):
        return []
    cluster_state.end(stack)
    if _is_json(older):
        write_text(path, older.read_text(encoding="utf-8"), mode=PRIVATE)
        return ["the newest state was damaged; took that of one operation before"]
    path.unlink()
    pulumi("stack", "init", stack, "--no-select", quiet=True)
    return [f"the state of stack {stack} was damaged beyond repair; it begins anew"]


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    return True


def forget_releases(stack: str) -> None:
    """Have the state know of no Helm release: one on a cluster that is gone cannot be removed. What
    depends on it is on that cluster too, or only looked at it."""
    for resource in identity.resources(stack):
        if resource["type"] == RELEASE:
            pulumi(
                "state", "delete", resource["urn"], "--target-dependents", "--yes",
                "--stack", stack, quiet=True,
            )  # fmt: skip


def forget_passed(stack: str) -> None:
    """Have the stack's output `status` no longer say that it passed, after an update that failed:
    the outputs that Pulumi keeps are those of the last one that came to its end."""
    stacks = [each for each in identity.resources(stack) if each["type"] == STACK]
    if not any((each.get("outputs") or {}).get("status") == "passed" for each in stacks):
        return

    def fail(file: Path) -> None:
        state = json.loads(file.read_text())
        for resource in state["deployment"]["resources"]:
            if resource["type"] == STACK:
                resource["outputs"]["status"] = "failed"
        file.write_text(json.dumps(state))

    _take_in(stack, fail)


def _take_in(stack: str, change: Callable[[Path], None]) -> None:
    """Have Pulumi write the state to a file and, changed, take it in again."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        pulumi("stack", "export", "--stack", stack, "--file", file.name, quiet=True)
        change(Path(file.name))
        pulumi("stack", "import", "--stack", stack, "--file", file.name, quiet=True)


def settle(stack: str, operation: dict[str, Any]) -> list[str]:
    """Take back what cannot simply be done again; returns what was done. operation: {"type":
    "creating" …, "resource": {"type", "urn", "inputs"}}."""
    resource, kind = operation["resource"], operation["resource"]["type"]
    match operation["type"], kind:
        case "deleting", "command:local:Command" if resource["urn"].endswith("::cluster"):
            cluster_state.make_folder(stack)
            cluster_state.begin_removal(stack)
        case ("creating", _) | ("updating", "kubernetes:helm.sh/v3:Release"):
            # It takes Kubernetes five seconds and more to remove a namespace, so it is taken over
            # as it is. But on a cluster that is not the lab's nothing is taken over.
            taken_over = kind == NAMESPACE and cluster_state.kind_of(stack) != "existing"
            if kind.startswith("kubernetes:") and not taken_over:
                return _take_back(stack, operation)
    return []


def _take_back(stack: str, operation: dict[str, Any]) -> list[str]:
    from operations.stack import half_made  # it loads the Kubernetes client, which takes a while

    kubeconfig = half_made.running_cluster(stack)
    if kubeconfig is None:
        return []
    inputs = operation["resource"]["inputs"]
    if operation["resource"]["type"] == RELEASE:
        name, namespace = inputs["name"], inputs["namespace"]
        every = operation["type"] == "creating"
        if every and cluster_state.kind_of(stack) == "existing":
            half_made.remove_released(kubeconfig, namespace, name)
        removed = half_made.remove_revisions(kubeconfig, namespace, name, every=every)
        what = f"Helm release {name}"
    else:
        removed = half_made.remove_object(kubeconfig, inputs)
        what = f"{inputs['kind']} {inputs['metadata']['name']}"
    return [f"took back {what}, which the state does not know"] if removed else []
