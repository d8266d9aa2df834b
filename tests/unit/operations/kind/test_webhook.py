"""The certificate of the webhook: its key is in the cluster, and nowhere else."""

from __future__ import annotations

import base64
import io
import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509

from operations import __main__ as operations
from operations.kind import webhook

GIVEN = {
    "kubeconfig": "kubeconfig",
    "namespace": "driver",
    "namespace_uid": "1",
    "service": "webhook",
    "secret": "certificate",
}


def test_the_key_is_in_the_secret_and_only_the_certificate_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secrets: dict[str, Any] = {"certificate": "of an update that was killed"}

    def delete(namespace: str, *, field_selector: str, **_: Any) -> None:
        assert namespace == "driver"
        secrets.pop(field_selector.removeprefix("metadata.name="), None)

    def create(namespace: str, secret: dict[str, Any], **_: Any) -> None:
        assert namespace == "driver"
        assert secret["metadata"]["name"] not in secrets
        secrets[secret["metadata"]["name"]] = secret

    core = SimpleNamespace(
        delete_collection_namespaced_secret=delete, create_namespaced_secret=create
    )
    monkeypatch.setattr(webhook, "Kube", lambda _: SimpleNamespace(core=core))
    monkeypatch.setattr(sys, "argv", ["operations", "webhook-certificate"])
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(GIVEN)))

    assert operations.main() == 0

    printed = capsys.readouterr().out
    (secret,) = secrets.values()
    assert json.loads(printed) == {"caBundle": secret["data"]["tls.crt"]}
    assert b"PRIVATE KEY" in base64.b64decode(secret["data"]["tls.key"])
    assert secret["data"]["tls.key"] not in printed
    certificate = x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["webhook.driver.svc"]
