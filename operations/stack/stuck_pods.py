"""Says after an update that failed which of the lab's pods do not start for their image: Pulumi
waits for pods, so no check comes to tell it."""

import sys
from collections.abc import Iterable

from kube.client import Kube
from kube.errors import KubeError
from kube.pods import image_problem, image_remedy
from machine.cluster_state import KUBECONFIG, RUN


def explain(stack: str, namespaces: Iterable[str]) -> None:
    """One line for every such pod; nothing where the cluster cannot be asked."""
    kubeconfig = RUN / stack / KUBECONFIG
    if not kubeconfig.exists():
        return
    try:
        kube = Kube(str(kubeconfig))
        for namespace in namespaces:
            for pod in kube.get(kube.core.list_namespaced_pod, namespace=namespace).items:
                if why := image_problem(pod):
                    name = f"{namespace}/{pod.metadata.name}"
                    sys.stderr.write(f"pod {name}: {why}; {image_remedy(pod)}\n")
    except KubeError:
        return  # that the cluster does not answer was the failure itself
