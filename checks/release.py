"""Pods that hold until they are released, and the pods of an MPS daemon, which stay without one."""

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from checks.result import CheckFailed, require
from kube.client import Kube
from kube.errors import KubeError
from machine.errors import LabError
from machine.waiting import until

RELEASE = "dra-workshop/release"
START = "dra-workshop/start"
LOOK_AGAIN = "dra-workshop/look-again"
"""Changes only so that the kubelet looks at a pod."""
SECONDS, LOOK_SECONDS = 30.0, 0.5
LOOK_AGAIN_SECONDS = 3.0
GAVE_BACK = {"reserve": "is everybody's", "daemon": "the daemon has ended"}
"""What the containers of the daemon's pod say when they were released (workloads/mps_daemon.py)."""


def release_pods(kube: Kube, namespace: str, names: Iterable[str], **more: str) -> None:
    """Have the pods end, whatever they are at: those that come after must get the GPU."""
    annotations = {RELEASE: "true", START: f"{time.time():.3f}", **more}
    for name in names:
        with suppress(LabError):  # a pod that does not exist
            patch = {"metadata": {"annotations": annotations}}
            kube.get(kube.core.patch_namespaced_pod, name, namespace, patch)


def daemon_pods(kube: Kube, namespace: str, name: str = "") -> list[Any]:
    """Those of MPS daemons of the lab's own that are not about to go. name: of the DaemonSet, which
    is their label `app` too, "" for all."""
    selection = {"label_selector": f"app={name}"} if name else {}
    listed = kube.get(kube.core.list_namespaced_pod, namespace=namespace, **selection).items
    return [pod for pod in listed if not pod.metadata.deletion_timestamp]


def release_daemons(kube: Kube, namespace: str, name: str = "") -> str:
    """Have them give the GPU to others, and wait until they have. CheckFailed with those that have
    not. Where no container runs there is nothing to wait for."""
    # Also one that has yet to start: it is not to go to work then.
    release_pods(kube, namespace, _names(daemon_pods(kube, namespace, name)))
    last_told = time.monotonic()

    def look() -> str:
        nonlocal last_told
        pods = daemon_pods(kube, namespace, name)
        at_work = _names(pod for pod in pods if not _gave_back(kube, pod))
        if at_work and time.monotonic() - last_told > LOOK_AGAIN_SECONDS:
            last_told = time.monotonic()
            release_pods(kube, namespace, at_work, **{LOOK_AGAIN: f"{last_told:.3f}"})
        return require(not at_work, f"at work: {', '.join(at_work)}" if at_work else "released")

    return until(SECONDS, CheckFailed, LOOK_SECONDS)(look)


def _names(pods: Iterable[Any]) -> list[str]:
    return [pod.metadata.name for pod in pods]


def _gave_back(kube: Kube, pod: Any) -> bool:
    """Whether each container that runs has said so. After a restart of the node none may run: the
    pod's CDI specification is gone."""
    status, named = pod.status, pod.metadata
    found = [*(status.init_container_statuses or []), *(status.container_statuses or [])]
    running = [each.name for each in found if each.state and each.state.running]
    try:
        return all(
            kube.log(named.namespace, named.name, container).rstrip().endswith(last)
            for container, last in GAVE_BACK.items()
            if container in running
        )
    except KubeError:  # it has just ended, or its node runs no programs
        return True
