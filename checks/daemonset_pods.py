"""The pods of a DaemonSet of the lab's own: it has the name of their label `app`."""

from typing import Any

from checks import gpu_holders
from kube.client import Kube


def read(kube: Kube, namespace: str, name: str) -> list[Any]:
    """Those that are not about to go."""
    listed = kube.get(
        kube.core.list_namespaced_pod, namespace=namespace, label_selector=f"app={name}"
    ).items
    return [pod for pod in listed if not pod.metadata.deletion_timestamp]


def release(kube: Kube, namespace: str, name: str) -> None:
    """Have them give the GPU to others."""
    names = [pod.metadata.name for pod in read(kube, namespace, name)]
    gpu_holders.release_pods(kube, namespace, names)
