"""Where a pod stands, for a person, and why one that should run does not."""

from typing import TYPE_CHECKING, Any

from kube.conditions import condition
from kube.errors import KubeError

if TYPE_CHECKING:
    from kube.client import Kube

IMAGE_KEY = "workloadImage"
"""The configuration key that names the image of the lab's pods."""
OF_SET_UP = "localhost/"
"""How references begin of images that are in no registry: `make setup` builds them."""
NOT_PULLED = (
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "RegistryUnavailable",
)
NO_PYTHON = "executable file not found"
"""How container runtimes say that an image lacks the program that a pod is to run."""
PLAIN = ("PodInitializing", "ContainerCreating")
"""Reasons for waiting that say no more than that it waits."""
LINES = 3
MOST_OF_MESSAGE, MOST = 300, 400


def describe(pod: Any) -> str:
    """Where a pod stands."""
    if pod is None:
        return "no such pod"
    scheduled = condition(pod, "PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return f"{pod.status.phase}, {scheduled.reason}: {scheduled.message}"
    if not pod.spec.node_name:
        return str(pod.status.phase)
    return ", ".join(
        filter(None, (f"{pod.status.phase} on {pod.spec.node_name}", image_problem(pod)))
    )


def image_problem(pod: Any) -> str:
    """Why the pod's image cannot be used, as kubelets report it, "" where nothing says so."""
    for container in (pod.status.container_statuses if pod and pod.status else None) or []:
        state = container.state
        reported = state and (state.waiting or state.terminated)
        if not reported:
            continue
        message = " ".join((reported.message or "").split())[:MOST_OF_MESSAGE]
        problem = f"{reported.reason}: image {container.image}"
        if reported.reason in NOT_PULLED:
            return f"{problem}: {message}" if message else problem
        if NO_PYTHON in message:
            return f"{problem} has no python3: {message}"
    return ""


def image_remedy(pod: Any) -> str:
    """What helps a pod whose image cannot be used, "" for any other."""
    if not image_problem(pod):
        return ""
    return (
        f"set {IMAGE_KEY} to an image with python3 and glibc that node {pod.spec.node_name} can "
        f"pull, preferably by digest: SET='{IMAGE_KEY}=REGISTRY/NAME@sha256:DIGEST'; an image "
        f"whose name begins with {OF_SET_UP} has to be imported on the node"
    )


def explain_unready(kube: "Kube", namespace: str) -> str:
    """What keeps the first pod of the namespace that is not ready, "" if nothing is known.

    A container that runs without becoming ready, or ended, says why in its log.
    """
    try:
        for pod in kube.get(kube.core.list_namespaced_pod, namespace=namespace).items:
            if found := _explain(kube, pod):
                return found[:MOST]
    except KubeError:
        pass  # it was asked for an explanation, and has none
    return ""


def _explain(kube: "Kube", pod: Any) -> str:
    status = pod.status
    for container in [*(status.init_container_statuses or []), *(status.container_statuses or [])]:
        state = container.state
        ended = state.terminated or (container.last_state and container.last_state.terminated)
        if container.ready or (state.terminated and not state.terminated.exit_code):
            continue
        where = f"{pod.metadata.name}, {container.name}"
        if state.running or ended:
            log = kube.log(pod.metadata.namespace, pod.metadata.name, container.name)
            last = [line for line in log.splitlines() if line.strip()][-LINES:]
            unlogged = "it runs, is not ready, and has printed nothing"
            return f"{where}: {' | '.join(last) or unlogged}"
        if state.waiting and state.waiting.reason not in PLAIN:
            return f"{where}: {state.waiting.reason} {state.waiting.message or ''}".rstrip()
    return "" if status.phase == "Running" else f"{pod.metadata.name}: {describe(pod)}"
