"""Credentials that a program of the user's makes: `exec` of a kubeconfig, as with kubectl.

The Kubernetes client (36.0.3) goes on without credentials where the program fails.
"""

import base64
import json
import os
import shutil
from pathlib import Path

from kube.errors import KubeError
from kube.kubeconfig import Config
from machine.run import ProgramTimedOut, ProgramUnusable, run_program

KIND = "ExecCredential"
GROUP = "client.authentication.k8s.io"
VERSIONS = (f"{GROUP}/v1", f"{GROUP}/v1beta1")
EXTENSION = f"{GROUP}/exec"
"""Name of the cluster's extension that is meant for the plugin."""
PASSED_ON = (
    "server",
    "tls-server-name",
    "insecure-skip-tls-verify",
    "certificate-authority-data",
    "proxy-url",
    "disable-compression",
)
"""What a plugin gets of the cluster if it asks for it."""
SECONDS = 60.0
MOST = 500


def run(user: str, entry: Config, cluster: Config) -> Config:
    """The status of the ExecCredential that the plugin prints: a token, a certificate, or both.

    entry: the user's `exec`; paths in it and in `cluster` are absolute. Raises KubeError with the
    plugin's own reason.
    """
    plugin = f"plugin '{entry.get('command', '')}' of user '{user}'"
    _require_usable(plugin, entry)
    environment = os.environ | {item["name"]: item["value"] for item in entry.get("env") or []}
    environment["KUBERNETES_EXEC_INFO"] = json.dumps(_describe(entry, cluster))
    try:
        command = [entry["command"], *(entry.get("args") or [])]
        done = run_program(command, seconds=SECONDS, env=environment, check=False)
    except ProgramTimedOut as error:
        raise KubeError(f"{plugin} did not end within {SECONDS:g} s") from error
    except ProgramUnusable as error:
        raise KubeError(f"{plugin} cannot be run: {error.reason}") from error
    if done.code:
        failure = (f"{plugin} ended with {done.code}", done.reason[-MOST:])
        raise KubeError(": ".join(filter(None, failure)))
    return _status(plugin, entry["apiVersion"], done.output)


def _require_usable(plugin: str, entry: Config) -> None:
    api, mode = entry.get("apiVersion"), entry.get("interactiveMode")
    if api not in VERSIONS:
        raise KubeError(f"{plugin} has apiVersion '{api}'; allowed: {', '.join(VERSIONS)}")
    if api == VERSIONS[0] and not mode:
        raise KubeError(f"{plugin} lacks interactiveMode (Never, IfAvailable or Always)")
    if mode == "Always":
        raise KubeError(
            f"{plugin} has interactiveMode 'Always': it needs a terminal, and the lab's programs "
            "have none; use a user whose credentials are made without one"
        )
    if shutil.which(entry["command"]) is None:
        hint = " ".join(str(entry.get("installHint") or "").split())
        raise KubeError("; ".join(filter(None, (f"{plugin} is not installed", hint))))


def _describe(entry: Config, cluster: Config) -> Config:
    specification: Config = {"interactive": False}
    if entry.get("provideClusterInfo"):
        known = {key: cluster[key] for key in PASSED_ON if key in cluster}
        if path := cluster.get("certificate-authority"):
            data = base64.b64encode(Path(path).read_bytes()).decode()
            known.setdefault("certificate-authority-data", data)
        for extension in cluster.get("extensions") or []:
            if extension["name"] == EXTENSION:
                known["config"] = extension["extension"]
        specification["cluster"] = known
    return {"apiVersion": entry["apiVersion"], "kind": KIND, "spec": specification}


def _status(plugin: str, api: str, printed: str) -> Config:
    try:
        answer = json.loads(printed)
    except ValueError as error:
        raise KubeError(f"{plugin} printed no JSON: {printed.strip()[:MOST]}") from error
    if not isinstance(answer, dict) or answer.get("kind") != KIND:
        raise KubeError(f"{plugin} printed no {KIND}")
    if answer.get("apiVersion") != api:
        raise KubeError(f"{plugin} answers in {answer.get('apiVersion')}, asked in {api}")
    status: Config = answer.get("status") or {}
    certificate, key = status.get("clientCertificateData"), status.get("clientKeyData")
    if bool(certificate) != bool(key):
        raise KubeError(f"{plugin} printed a certificate without its key, or a key alone")
    if not certificate and not status.get("token"):
        raise KubeError(f"{plugin} printed neither a token nor a certificate")
    return status
