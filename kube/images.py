"""What is wrong with the image of the lab's pods, as kubelets tell it of their containers."""

from __future__ import annotations

from typing import Any

KEY = "workloadImage"
"""The configuration key that names the image."""
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
MOST = 300


def trouble(pod: Any) -> str:
    """Why the pod's image is of no use, "" where nothing says so."""
    for container in (pod.status.container_statuses if pod and pod.status else None) or []:
        state = container.state
        told = state and (state.waiting or state.terminated)
        if not told:
            continue
        said = " ".join((told.message or "").split())[:MOST]
        if told.reason in NOT_PULLED:
            return f"{told.reason}: image {container.image}" + (f": {said}" if said else "")
        if NO_PYTHON in said:
            return f"{told.reason}: image {container.image} has no python3: {said}"
    return ""


def remedy(pod: Any) -> str:
    """What helps a pod whose image is of no use, "" for any other."""
    if not trouble(pod):
        return ""
    node = pod.spec.node_name
    return (
        f"set {KEY} to an image with python3 and glibc that node {node} can pull, preferably by "
        f"digest: SET='{KEY}=REGISTRY/NAME@sha256:DIGEST'; an image whose name begins with "
        f"{OF_SET_UP} has to be imported on the node"
    )
