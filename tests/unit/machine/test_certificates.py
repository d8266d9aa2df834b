"""Certificates: who takes them for what."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from machine import certificates

HOST = "webhook.driver.svc"


def greet(folder: Path, host: str) -> str:
    """The version of TLS that a client that trusts the certificate speaks with the server."""
    certificate, key = certificates.issue(f"CN={HOST}", certificates.SERVER, hosts=[HOST])
    (folder / "both.pem").write_bytes(certificate + key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "both.pem")
    client = ssl.create_default_context(cadata=certificate.decode())
    client.hostname_checks_common_name = False  # an API server does not look at it either
    here, there = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(there, server_side=True).close()
        except OSError:
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(here, server_hostname=host) as spoken:
            return str(spoken.version())
    finally:
        here.close()
        thread.join(10)


def test_a_server_is_known_by_the_name_that_it_is_called_by(tmp_path: Path) -> None:
    assert greet(tmp_path, HOST) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        greet(tmp_path, "elsewhere.driver.svc")
