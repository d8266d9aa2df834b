"""An API server and a forward proxy, both small, real, and on loopback."""

from __future__ import annotations

import http.client
import json
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PRIVATE = "api.private.invalid"
"""A name that only the proxy knows."""
REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
GOOD = "Bearer good"


@dataclass
class Server:
    """users: "Authorization" header → name; whoever is not in it is anonymous. asked: what came,
    (path, Authorization)."""

    port: int = 0
    users: dict[str, str] = field(default_factory=lambda: {GOOD: "me"})
    asked: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Proxy:
    """asked: the hosts that it was asked for; logins: Proxy-Authorization headers."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)


@contextmanager
def serving(
    handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def api_server(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Answers as a real one: the version to anyone, who one is to known users only."""
    made = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, code: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.respond()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.respond()

        def respond(self) -> None:
            who = self.headers.get("Authorization", "")
            path = urlsplit(self.path).path
            made.asked.append((path, who))
            user = made.users.get(who, "system:anonymous")
            if path == "/version/":
                keys = ("buildDate", "compiler", "gitCommit", "gitTreeState", "goVersion", "major",
                        "minor", "platform")  # fmt: skip
                self.answer(200, dict.fromkeys(keys, "1") | {"gitVersion": "v1.37.2"})
            elif who and who not in made.users:
                self.answer(401, {"kind": "Status", "message": "Unauthorized"})
            elif path == REVIEWS and user != "system:anonymous":
                self.answer(201, {"status": {"userInfo": {"username": user}}})
            else:
                said = f'x is forbidden: User "{user}" cannot do that'
                self.answer(403, {"kind": "Status", "message": said})

    with serving(Handler, tls) as made.port:
        yield made


@contextmanager
def forward_proxy(target: int) -> Iterator[Proxy]:
    """Forwards whatever it is asked for, tunnels too, to that port of this machine."""
    made = Proxy()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def note(self, host: str) -> None:
            made.asked.append(host)
            made.logins.append(self.headers.get("Proxy-Authorization", ""))

        def do_GET(self) -> None:
            self.forward()

        def do_POST(self) -> None:
            self.forward()

        def forward(self) -> None:
            url = urlsplit(self.path)
            self.note(url.netloc)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection = http.client.HTTPConnection("127.0.0.1", target)
            connection.request(self.command, url.path, body, dict(self.headers))
            answer = connection.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.read())

        def do_CONNECT(self) -> None:
            self.note(self.path)
            with socket.create_connection(("127.0.0.1", target)) as upstream:
                self.send_response(200)
                self.end_headers()
                ends = {self.connection: upstream, upstream: self.connection}
                while True:
                    for ready in select.select(list(ends), [], [])[0]:
                        data = ready.recv(65536)
                        if not data:
                            return
                        ends[ready].sendall(data)

    with serving(Handler) as made.port:
        yield made


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate that vouches for itself as that host, and a server's side with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority, both = folder / "ca.crt", folder / "server.pem"
    pem = made.public_bytes(serialization.Encoding.PEM)
    authority.write_bytes(pem)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    both.write_bytes(pem + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return authority, context
