"""Logs come as they were printed; a script runs in a pod, and how it ended is told."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from kube.client import Kube
from kube.errors import KubeError
from tests.unit.fake_kube import status_body
from tests.unit.kube.test_client import kube_at

STDOUT, STDERR, STATUS = 1, 2, 3
LOG = b'12:00:00 measuring fma\n{"a": "\xc3\xb6", "b": true}\n'
SUCCESS: dict[str, Any] = {"status": "Success"}
FAILURE: dict[str, Any] = {
    "status": "Failure",
    "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
}
WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What a server adds to the client's key (RFC 6455)."""


class Server(ThreadingHTTPServer):
    """A kubelet behind an API server. said: what a script prints; status: how it ends."""

    log = LOG
    said: list[tuple[int, str]] = []  # noqa: RUF012 (set on the instance by each test)
    status = SUCCESS
    asked: dict[str, list[str]] = {}  # noqa: RUF012


class Answers(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = urlsplit(self.path)
        if path.path == "/api/v1/namespaces/lab/pods/a/log":
            self.answer(200, self.server.log)
        elif path.path == "/api/v1/namespaces/lab/pods/a/exec":
            self.server.asked = parse_qs(path.query)
            self.run()
        else:
            self.answer(404, status_body("no such pod").encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def run(self) -> None:
        """The websocket of a command: each frame begins with the number of its stream."""
        key = self.headers["Sec-WebSocket-Key"] + WEBSOCKET
        accepted = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()  # noqa: S324
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accepted)
        self.send_header("Sec-WebSocket-Protocol", "v4.channel.k8s.io")
        self.end_headers()
        for stream, text in [*self.server.said, (STATUS, json.dumps(self.server.status))]:
            data = bytes([stream]) + text.encode()
            length = bytes([len(data)]) if len(data) < 126 else b"\x7e" + len(data).to_bytes(2)
            self.wfile.write(b"\x82" + length + data)
        self.wfile.write(b"\x88\x00")
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Tests stay quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Answers) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def kube(server: Server, tmp_path: Path) -> Kube:
    return kube_at(server.server_address[1], tmp_path)


def test_a_log_comes_as_it_was_printed(kube: Kube, server: Server) -> None:
    assert kube.log("lab", "a") == LOG.decode()
    server.log = b'{"alone": true}\n'
    assert kube.log("lab", "a") == '{"alone": true}\n', "not as an object of Python"
    server.log = b"\xff\n"
    assert kube.log("lab", "a") == "\ufffd\n"


def test_a_log_of_no_pod_says_so(kube: Kube) -> None:
    with pytest.raises(KubeError, match="404 no such pod"):
        kube.log("lab", "b")


def test_a_script_gives_what_it_printed_on_stdout(kube: Kube, server: Server) -> None:
    server.said = [(STDOUT, "41\n"), (STDERR, "a warning\n"), (STDOUT, "x" * 300 + "\n")]
    assert kube.execute("lab", "a", "echo 41") == "41\n" + "x" * 300 + "\n"
    assert server.asked["command"] == ["sh", "-c", "echo 41"]


def test_a_script_that_prints_nothing_gives_nothing(kube: Kube) -> None:
    assert kube.execute("lab", "a", "true") == ""


def test_a_script_that_fails_says_how(kube: Kube, server: Server) -> None:
    server.said = [(STDERR, "sh: nvidia-cuda-mps-control: not found\n")]
    server.status = FAILURE
    with pytest.raises(KubeError, match=r"^pod a: the script ended with 3: sh: nvidia.*not found$"):
        kube.execute("lab", "a", "nvidia-cuda-mps-control")


def test_a_script_in_no_pod_says_so(kube: Kube) -> None:
    with pytest.raises(KubeError, match=r"^nothing can be run in pod b: .*404"):
        kube.execute("lab", "b", "true")
