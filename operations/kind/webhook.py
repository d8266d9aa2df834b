"""The certificate of NVIDIA's admission webhook where the driver's chart runs it.

The chart takes it from a Secret. It is put there by this program, so that its key is in the cluster
only, and in no state of a stack.
"""

import base64
from dataclasses import dataclass

from kube.client import ANSWER_SECONDS, Kube, explained
from machine import certificates


@dataclass(frozen=True)
class Specification:
    """kubeconfig: its path; namespace: of the driver, namespace_uid: another one has no Secret yet;
    service: of the webhook; secret: what it is to be called."""

    kubeconfig: str
    namespace: str
    namespace_uid: str
    service: str
    secret: str


def certify(wanted: Specification) -> dict[str, str]:
    """Have a new certificate in the Secret; returns what the API server is to know it by. Raises
    KubeError."""
    host = f"{wanted.service}.{wanted.namespace}.svc"
    certificate, key = certificates.issue(f"CN={host}", certificates.SERVER, hosts=[host])
    public = base64.b64encode(certificate).decode()
    secret = {
        "metadata": {"name": wanted.secret},
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": public, "tls.key": base64.b64encode(key).decode()},
    }
    core = Kube(wanted.kubeconfig).core
    with explained():
        # A killed update may have left one, which nobody uses yet.
        core.delete_collection_namespaced_secret(
            wanted.namespace,
            field_selector=f"metadata.name={wanted.secret}",
            _request_timeout=ANSWER_SECONDS,
        )
        core.create_namespaced_secret(wanted.namespace, secret, _request_timeout=ANSWER_SECONDS)
    return {"caBundle": public}
