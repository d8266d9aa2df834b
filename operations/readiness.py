"""Waits until a control plane is usable, which it is a while after its processes run."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import urllib3

from kube.client import OK, Kube
from kube.errors import KubeError
from machine.waiting import until
from operations.common import prefixed


def wait_until_usable(
    kubeconfig: Path, seconds: float, ports: Mapping[str, int] | None = None
) -> None:
    """Wait for API descriptions and the account that pods run under, and for the scheduler, kwok
    and NVIDIA's webhook where `ports` names theirs. Raises LabError at the deadline."""
    kube = Kube(str(kubeconfig))

    def ask() -> None:
        # By path: the client's classes for an API take half a second to load.
        kube.text("/api/v1/namespaces/default/serviceaccounts/default")
        kube.text("/openapi/v3")
        for name, port in ports.items() if ports else ():
            if name in PROBES:
                PROBES[name](port)

    with prefixed("the control plane does not become usable"):
        until(seconds, KubeError)(ask)


def _ask_scheduler(port: int) -> None:
    """Raises KubeError unless it is ready, which it is not where a gate's API is not served."""
    status, text = _ask(f"https://127.0.0.1:{port}/readyz", "the scheduler")
    if status != OK:
        failed = [line for line in text.splitlines() if line.startswith("[-]")]
        raise KubeError(
            f"the scheduler is not ready ({', '.join(failed)}); a feature gate may need an API "
            "that only runtimeConfig switches on"
        )


def _ask_kwok(port: int) -> None:
    status, text = _ask(f"http://127.0.0.1:{port}/readyz", "kwok")
    if status != OK:
        raise KubeError(f"kwok is not ready: {text[:200]}")


def _ask_webhook(port: int) -> None:
    """Until it is ready the API server refuses every claim."""
    status, text = _ask(f"https://127.0.0.1:{port}/readyz", "NVIDIA's admission webhook")
    if status != OK:
        raise KubeError(f"NVIDIA's admission webhook is not ready: {text[:200]}")


def _ask(url: str, program: str) -> tuple[int, str]:
    """The status and the text with which it answers. Raises KubeError where it does not."""
    # Certificates are not verified: it is on loopback, and the scheduler's is its own.
    pool = urllib3.PoolManager(cert_reqs="CERT_NONE")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
        try:
            answer = pool.request("GET", url, retries=False)
        except urllib3.exceptions.HTTPError as error:
            raise KubeError(f"{program} cannot be reached: {error}") from error
    return answer.status, answer.data.decode()


PROBES: Mapping[str, Callable[[int], None]] = {
    "kube-scheduler": _ask_scheduler,
    "kwok-controller": _ask_kwok,
    "dra-webhook": _ask_webhook,
}
"""By what a program's port is called."""
