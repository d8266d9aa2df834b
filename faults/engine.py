"""Runs one fault: clients at work, the injection, and what is seen of it, timed."""

import time
from functools import partial
from typing import Any

from checks.result import Checklist, CheckSkipped, Finding
from faults.model import Fault, NeverSeen, Sight
from faults.scene import LOOK_SECONDS, STEADY_SECONDS, Scene
from kube.devices import BASIS, LEVELS, too_unreal
from machine import host_node
from machine.errors import LabError
from results.status import Basis, Status

MODULE = "4"
"""Whose claims and pods the clients are made after."""
AT_WORK, INJECTED, REMOVED = "at-work", "injected", "removed"


def why_not(fault: Fault, scene: Scene) -> str:
    """Why the fault cannot be tried here, "" if it can."""
    if not scene.parameters["clusterOwned"]:
        return "on a cluster of others nothing is broken"
    if LEVELS.index(scene.devices) < LEVELS.index(fault.least):
        return too_unreal(scene.devices, fault.least)
    if fault.host and not host_node.is_ours(scene.stack):
        return "needs this machine as the node: node=host"
    if (found := len(scene.published())) < fault.gpus:
        return f"needs {fault.gpus} GPUs: {found} here"
    return ""


def run(fault: Fault, scene: Scene) -> dict[str, Any]:
    """What was seen, as of a check, with the clients as a user sees them. Whatever happens, all
    that was made for it is removed."""
    checklist = Checklist(MODULE)
    basis: Basis = BASIS[scene.devices]
    clients: Any = {}
    if reason := why_not(fault, scene):
        checklist.skip(fault.name, fault.breaks, reason, basis=basis)
        return _result(fault, checklist, clients)
    verify = partial(checklist.verify, remedy=scene.remedy, basis=basis)
    try:
        scene.clear()  # of a run that was killed
        if verify(AT_WORK, "clients work", lambda: ready(fault, scene), expected="at work"):
            if verify(INJECTED, fault.breaks, lambda: inject(fault, scene), expected="done"):
                watch(fault, scene, checklist)
            clients = scene.clients_seen()
    finally:
        scene.finish()
        scene.clear()
        fault.restore(scene)
    if scene.injected:
        verify(REMOVED, "what was made for it is gone", scene.clear, expected="nothing")
    return _result(fault, checklist, clients)


def ready(fault: Fault, scene: Scene) -> str:
    fault.prepare(scene)
    return scene.start_clients()


def inject(fault: Fault, scene: Scene) -> str:
    scene.injected = time.time()
    return fault.inject(scene)


def watch(fault: Fault, scene: Scene, checklist: Checklist) -> None:
    """Look for all sights at once, so that each has its own time, and add a finding for each."""
    waiting = [each for each in fault.sights if each.kind != "unharmed"]
    while waiting or scene.since() < STEADY_SECONDS:
        for sight in list(waiting):
            if (finding := _look(sight, scene, checklist)) is not None:
                checklist.findings.append(finding)
                waiting.remove(sight)
        scene.count_devices()
        time.sleep(LOOK_SECONDS)
    for sight in fault.sights:
        if sight.kind == "unharmed":
            finding = _look(sight, scene, checklist, last=True)
            checklist.findings.append(finding or _finding(sight, scene, "failed", "not seen"))


def _look(sight: Sight, scene: Scene, checklist: Checklist, last: bool = False) -> Finding | None:
    """What is known of it, None as long as it may still come. last: it is not waited for."""
    if LEVELS.index(scene.devices) < LEVELS.index(sight.least):
        return _finding(sight, scene, "skipped", too_unreal(scene.devices, sight.least))
    decided = {found.id for found in checklist.findings}
    if not decided.issuperset(filter(None, (sight.needs, sight.after))):
        return None
    if sight.needs and not checklist.holds(sight.needs):
        return _finding(sight, scene, "skipped", f"needs {sight.needs}")
    scene.happened = 0.0
    try:
        return _finding(sight, scene, "passed", sight.look(scene))
    except CheckSkipped as reason:
        return _finding(sight, scene, "skipped", str(reason))
    except LabError as error:
        if last or isinstance(error, NeverSeen) or scene.since() > sight.within:
            return _finding(sight, scene, "failed", error.found)
        return None


def _finding(sight: Sight, scene: Scene, status: Status, found: str) -> Finding:
    """seconds: from the injection until it happened, where that is known, or was seen."""
    basis: Basis = BASIS[scene.devices]
    happened = (scene.happened or time.time()) - scene.injected
    seconds = 0.0 if status == "skipped" else round(max(happened, 0.0), 1)
    remedy = scene.remedy if status == "failed" else ""
    return Finding(sight.id, sight.title, status, basis, sight.expected, found, seconds, remedy)


def _result(fault: Fault, checklist: Checklist, clients: Any) -> dict[str, Any]:
    """`kind` of each finding: what it is to a user, "" for the engine's own."""
    kinds = {sight.id: sight.kind for sight in fault.sights}
    result = checklist.to_json()
    for finding in result["checks"]:
        finding["kind"] = kinds.get(finding["id"], "")
    return result | {"fault": fault.name, "breaks": fault.breaks, "clients": clients}
