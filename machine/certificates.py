"""Certificates of X.509 for what a lab runs, each with a new key."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

VALID = timedelta(days=365)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True)
class Authority:
    """By whom certificates are signed."""

    name: x509.Name
    key: Any


def issue(
    subject: str,
    usage: x509.ObjectIdentifier,
    *,
    hosts: Sequence[str] = (),
    authority: Authority | None = None,
) -> tuple[bytes, bytes]:
    """A certificate and its key, as PEM.

    subject: as RFC 4514 has it. hosts: names that a server is called by. authority: None for a
    certificate that signs itself.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string(subject)
    signer = authority or Authority(name, key)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(signer.name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + VALID)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    )
    if hosts:
        names = x509.SubjectAlternativeName(map(x509.DNSName, hosts))
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(signer.key, hashes.SHA256())
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(pem, form, serialization.NoEncryption())
    return certificate.public_bytes(pem), private
