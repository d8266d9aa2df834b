"""What `make up`, `preview`, `destroy` and their like do to a stack.

What takes a while to load, as the Kubernetes client does, is loaded where it is needed.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

from machine import cluster_state, identity
from machine.cluster_state import RUN
from machine.configuration import as_text, list_keys, read_configuration
from machine.errors import LabError
from machine.programs import VERIFY
from operations.stack import drift
from operations.stack.engine import EVENTS, NAMESPACE, STATE, errors_in, pulumi, variables
from operations.stack.recover import forget_passed, forget_releases, held_by, recover
from results import broken_off, store
from toolchain.errors import disk_full
from toolchain.layout import BIN, committed_stacks

ROOM = (".state", ".run", ".results")
UNREACHABLE = "PULUMI_K8S_DELETE_UNREACHABLE"
"""Tells the provider to forget what is on a cluster that is gone."""
MOST_LOST = 8
NEEDED = 2e6
"""Bytes: the state of a lab, twice, and some results."""


def require(stack: str) -> None:
    """Raise LabError, with the names that there are, for a stack that does not exist."""
    if stack not in committed_stacks():
        raise LabError(
            f"there is no stack '{stack}'; stacks: {', '.join(committed_stacks())} (make list)"
        )


def up(stack: str, changes: str, verify: bool) -> int:
    """Configure the stack and bring it up; then show what was found."""
    from report import results

    require(stack)
    require_room()
    # What a killed update left half verified has been used up, pods of checks that never began too.
    verify = bool(prepare(stack)) or verify
    configure(stack, changes)
    if cluster_state.is_being_removed(stack):
        sys.stderr.write(f"the removal of stack {stack} was begun; it is finished first\n")
        if code := _remove(stack):
            return code
    if cluster_state.kind_of(stack) == "existing":
        from operations.existing import cluster as existing

        existing.renew_login(stack)
    drifted = repair_drift(stack)
    before, began = results.latest(stack), time.time()
    with tempfile.NamedTemporaryFile(suffix=".json") as events:
        code = pulumi(
            "up", "--yes", "--skip-preview", "--suppress-outputs", "--stack", stack,
            *(["--refresh"] if drifted else []), "--event-log", events.name,
            extra=EVENTS | ({VERIFY: "1"} if verify or drifted else {}),
        )  # fmt: skip
        if code and results.latest(stack) == before:
            broken_off.keep(stack, began, errors_in(Path(events.name)))
    if code:
        _explain(stack)
        forget_passed(stack)
    results.show_latest(stack)
    return code


def _explain(stack: str) -> None:
    from operations.stack import stuck_pods

    of_modules = [
        resource["inputs"]["metadata"]["name"]
        for resource in identity.resources(stack)
        if resource["type"] == NAMESPACE and ":modules:" in resource["urn"]
    ]
    stuck_pods.explain(stack, of_modules)


def repair_drift(stack: str) -> bool:
    """Whether something of the lab was deleted from its cluster. What Pulumi cannot see of it is
    made again here; the rest is for an update that refreshes its state."""
    lost = drift.find(stack)
    if lost:
        more = f" and {len(lost) - MOST_LOST} more" if len(lost) > MOST_LOST else ""
        sys.stderr.write(
            f"not on the cluster of stack {stack} any more: {', '.join(lost[:MOST_LOST])}{more}; "
            "what is configured is made again, and every check runs again\n"
        )
        drift.restore_released(stack)
    return bool(lost)


def prepare(stack: str) -> int:
    """Settle what a killed update left, and say what was done."""
    done = recover(stack)
    for line in done:
        sys.stderr.write(f"{line}\n")
    return len(done)


def recover_alone(stack: str) -> None:
    require(stack)
    if not prepare(stack):
        sys.stderr.write(f"stack {stack}: nothing to recover\n")


def show_results(stack: str, as_json: bool) -> int:
    """Those of the last update; says so if another one has begun."""
    from report import results

    require(stack)
    if held_by(stack):
        sys.stderr.write(
            f"an update of stack {stack} is running, or was killed (make recover STACK={stack}); "
            "these results are older\n"
        )
    return results.show_latest(stack, as_json=as_json)


def preview(stack: str) -> int:
    require(stack)
    return pulumi("preview", "--diff", "--stack", stack)


def destroy(stack: str) -> int:
    """Remove all that the stack made, and show that nothing is left; 1 if something is."""
    from operations.stack import clusters
    from report import results

    require(stack)
    prepare(stack)
    holdings = clusters.read_holdings(stack)
    if code := _remove(stack):
        broken_off.keep(stack, time.time(), "the removal failed; its output above says why")
        forget_passed(stack)
        return code
    done = _run_program("checks", "teardown", given={"stack": stack} | holdings)
    if done.returncode:
        raise LabError("whether something is left cannot be checked; its output above says why")
    found = json.loads(done.stdout)
    results.show_removal(stack, found)
    store.removed(stack, found)
    return 0 if found["status"] == "passed" else 1


def _run_program(*program: str, given: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *program],
        input=json.dumps(given), text=True, errors="replace", stdout=subprocess.PIPE, check=False,
    )  # fmt: skip


def require_room() -> None:
    """Raise LabError before anything is changed if there is no room to write it down."""
    for folder in map(Path, ROOM):
        if folder.exists() and shutil.disk_usage(folder).free < NEEDED:
            raise LabError(disk_full(folder))


def _remove(stack: str) -> int:
    from operations.stack import clusters

    if not _is_shared(stack) and shutil.disk_usage(STATE).free < NEEDED:
        clusters.down(stack)  # the largest part; the engine needs some room to go on
    extra = None
    if not clusters.whole(stack):
        # Nodes and cluster are removed as a whole: all that a real driver could undo, object by
        # object, lies in folders, mounts and control groups, and in the GPUs' compute mode.
        sys.stderr.write(
            f"the nodes of {stack} are not all running; they are removed with all that is on them\n"
        )
        clusters.down(stack)
        forget_releases(stack)
        extra = {UNREACHABLE: "true"}
    code = pulumi("destroy", "--yes", "--skip-preview", "--stack", stack, extra=extra)
    if code == 0:
        # Where the state was lost it knew of no cluster that was to be removed.
        clusters.down(stack)
    return code


def _is_shared(stack: str) -> bool:
    """Whether the lab is on a cluster of others, which then can be reached. See `existing`."""
    if "existing" not in (cluster_state.kind_of(stack), read_configuration(stack)["cluster"]):
        return False
    from operations.existing import cluster as existing

    return existing.require_reachable(stack)


def configure(stack: str, changes: str) -> None:
    """Write `key=value …` into the stack's file; a list is written with commas. Raises LabError,
    before anything is written, for a value that cannot be used."""
    wanted = _parse_changes(changes)
    if not wanted:
        return
    entries: dict[str, dict[str, Any]] = {key: {"value": text} for key, text in wanted.items()}
    for key in wanted.keys() & list_keys():
        items = [item for item in wanted[key].split(",") if item]
        entries[key] = {"value": as_text(items), "objectValue": items}
    settings = read_configuration(stack) | {key: entry["value"] for key, entry in entries.items()}
    # Only the program that is deployed knows what it can use.
    done = _run_program("components", "check-settings", "--stack", stack, given=settings)
    if done.returncode:
        raise LabError(
            done.stdout.strip() or "the settings cannot be checked; the output above says why"
        )
    # In a copy: a kill before all of them are set leaves the file as it was.
    file = f"Pulumi.{stack}.yaml"
    new = STATE / file
    shutil.copyfile(file, new)
    pulumi(
        "config", "set-all", "--stack", stack, "--config-file", str(new),
        "--json", json.dumps(entries), quiet=True,
    )  # fmt: skip
    new.replace(file)


def _split(name: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise LabError(f"{name} cannot be read: {error}: {text}") from error


def _parse_changes(changes: str) -> dict[str, str]:
    pairs = [item.partition("=") for item in _split("SET", changes)]
    for key, sign, _ in pairs:
        if not sign:
            raise LabError(f"SET takes key=value pairs; '{key}' has no '='")
    return {key: value for key, _, value in pairs}


def kubeconfig(stack: str) -> Path:
    require(stack)
    path = RUN / stack / "kubeconfig"
    if not path.exists():
        raise LabError(f"stack {stack} has no cluster running; run: make up STACK={stack}")
    return path


def _usable_kubeconfig(stack: str) -> Path:
    """The same; says so if the cluster may not answer."""
    path = kubeconfig(stack)
    if not cluster_state.runs(stack):
        sys.stderr.write(
            f"part of the cluster of stack {stack} is not running; "
            f"start it: make up STACK={stack}\n"
        )
    return path


def kubectl(stack: str, arguments: str) -> int:
    words = _split("ARGS", arguments)
    command = [str(BIN / "kubectl"), "--kubeconfig", str(_usable_kubeconfig(stack)), *words]
    return subprocess.run(command, check=False).returncode


def shell(stack: str) -> NoReturn:
    """Become a shell whose kubectl asks the stack's cluster and whose pulumi has its state. It
    reads no start files of the person's: they may name another cluster."""
    own = {"KUBECONFIG": str(_usable_kubeconfig(stack).resolve()), "PS1": f"({stack}) \\w \\$ "}
    given = {k: v for k, v in variables().items() if k not in ("ENV", "BASH_ENV")} | own
    command = ["bash", "--norc"] if shutil.which("bash") else ["sh"]
    sys.stderr.write(f"kubectl and pulumi of stack {stack}; leave with: exit\n")
    sys.stderr.flush()
    os.execvpe(command[0], command, given)  # noqa: S606 (it takes this process's place)


def logs(stack: str, lines: int) -> None:
    """The end of every log of the stack's control plane."""
    folder = kubeconfig(stack).parent
    for path in sorted(folder.rglob("*.log")):
        sys.stdout.write(f"==> {path}\n")
        end = path.read_text(errors="replace").splitlines()[-lines:]
        sys.stdout.write("\n".join(end) + "\n\n")
