"""Waits until a control plane is usable, which it is a while after its processes run."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import urllib3

from kube.client import OK, Kube
from kube.errors import KubeError
from machine.waiting import until
from operations.common import prefixed


def wait_until_usable(
    kubeconfig: Path, seconds: float, ports: Mapping[str, int] | None = None
) -> None:
    """Wait for API descriptions and the account that pods run under, and for the scheduler and
    kwok where `ports` names theirs. Raises LabError at the deadline."""
    kube = Kube(str(kubeconfig))

    def ask() -> None:
        # By path: the client's classes for an API take half a second to load.
        kube.text("/api/v1/namespaces/default/serviceaccounts/default")
        kube.text("/openapi/v3")
        if ports:
            _ask_scheduler(ports["kube-scheduler"])
            _ask_kwok(ports["kwok-controller"])

    with prefixed("the control plane does not become usable"):
        until(seconds, KubeError)(ask)


def _ask_scheduler(port: int) -> None:
    """Raises KubeError unless it is ready, which it is not where a gate's API is not served."""
    pool = urllib3.PoolManager(cert_reqs="CERT_NONE")  # its certificate is its own, on loopback
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
        try:
            answer = pool.request("GET", f"https://127.0.0.1:{port}/readyz", retries=False)
        except urllib3.exceptions.HTTPError as error:
            raise KubeError(f"the scheduler cannot be reached: {error}") from error
    if answer.status != OK:
        failed = [line for line in answer.data.decode().splitlines() if line.startswith("[-]")]
        raise KubeError(
            f"the scheduler is not ready ({', '.join(failed)}); a feature gate may need an API "
            "that only runtimeConfig switches on"
        )


def _ask_kwok(port: int) -> None:
    try:
        answer = urllib3.request("GET", f"http://127.0.0.1:{port}/readyz", retries=False)
    except urllib3.exceptions.HTTPError as error:
        raise KubeError(f"kwok cannot be reached: {error}") from error
    if answer.status != OK:
        raise KubeError(f"kwok is not ready: {answer.data.decode()[:200]}")
