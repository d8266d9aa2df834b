"""Why a pod that should run does not, in one line for a person."""

from __future__ import annotations

from typing import Any

from kube.client import Kube, describe
from kube.errors import KubeError

LINES = 3
MOST = 400
PLAIN = ("PodInitializing", "ContainerCreating")
"""Reasons for waiting that say no more than that it waits."""


def of_pods(kube: Kube, namespace: str) -> str:
    """What keeps the first pod of the namespace that is not ready, "" if nothing is known.

    A container that runs without becoming ready tells it in its log, as does one that ended.
    """
    try:
        for pod in kube.get(kube.core.list_namespaced_pod, namespace=namespace).items:
            if found := _of(kube, pod):
                return found[:MOST]
    except KubeError:
        pass  # it was asked for an explanation, and has none
    return ""


def _of(kube: Kube, pod: Any) -> str:
    status = pod.status
    for container in [*(status.init_container_statuses or []), *(status.container_statuses or [])]:
        state = container.state
        ended = state.terminated or (container.last_state and container.last_state.terminated)
        if container.ready or (state.terminated and not state.terminated.exit_code):
            continue
        where = f"{pod.metadata.name}, {container.name}"
        if state.running or ended:
            return f"{where}: {_last_words(kube, pod, container.name)}"
        if state.waiting and state.waiting.reason not in PLAIN:
            return f"{where}: {state.waiting.reason} {state.waiting.message or ''}".rstrip()
    return "" if status.phase == "Running" else f"{pod.metadata.name}: {describe(pod)}"


def _last_words(kube: Kube, pod: Any, container: str) -> str:
    log = kube.log(pod.metadata.namespace, pod.metadata.name, container)
    lines = [line for line in log.splitlines() if line.strip()]
    return " | ".join(lines[-LINES:]) or "it runs, is not ready, and has printed nothing"
