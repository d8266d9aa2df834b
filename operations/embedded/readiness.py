"""Waits until a control plane is usable, which it is a while after its processes run."""

from __future__ import annotations

import warnings
from pathlib import Path

import urllib3

from kube.client import OK, Kube
from kube.errors import KubeError
from machine.errors import LabError
from machine.waiting import until

USABLE_SECONDS = 40


def wait_until_usable(kubeconfig: Path, ports: dict[str, int]) -> None:
    """Wait for what kwokctl does not: API descriptions, the account that pods run under, and a
    scheduler that has all it watches.

    Raises LabError at the deadline.
    """
    kube = Kube(str(kubeconfig))

    def ask() -> None:
        # By path: the client's classes for an API take half a second to load.
        kube.text("/api/v1/namespaces/default/serviceaccounts/default")
        kube.text("/openapi/v3")
        _ask_scheduler(ports["kube-scheduler"])
        _ask_kwok(ports["kwok-controller"])

    try:
        until(USABLE_SECONDS, KubeError)(ask)
    except KubeError as error:
        raise LabError(f"the control plane does not become usable: {error}") from error


def _ask_scheduler(port: int) -> None:
    """Raises KubeError unless the scheduler is ready; a gate whose API is not served keeps it
    so."""
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
    """Raises KubeError unless kwok, which runs the simulated nodes, is ready."""
    try:
        answer = urllib3.request("GET", f"http://127.0.0.1:{port}/readyz", retries=False)
    except urllib3.exceptions.HTTPError as error:
        raise KubeError(f"kwok cannot be reached: {error}") from error
    if answer.status != OK:
        raise KubeError(f"kwok is not ready: {answer.data.decode()[:200]}")
