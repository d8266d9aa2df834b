"""A server of releases on this machine, for `https://HOST/PATH` at `/HOST/PATH`."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from toolchain.tools import Release


def path_of(url: str) -> str:
    return url.removeprefix("https:/")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class LabContext:
    """What is served, by path, and what goes wrong with it.

    cut: how many answers more break off half-way. broken: how many more are a 503.
    slow: seconds until the answer begins. stalled: seconds in the middle of it.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cut: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    slow: dict[str, float] = field(default_factory=dict)
    stalled: dict[str, float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def publish(self, release: Release, contents: Mapping[str, bytes]) -> None:
        """Serve a release with checksums, in the form that its project gives them.

        contents: of the programs, by name.
        """
        for file in release.files:
            path, sums = path_of(file.url), path_of(file.sums)
            name = path.rpartition("/")[2]
            inner = {member: contents[program] for program, member in file.programs.items()}
            self.files[path] = inner[""] if "" in inner else packed(name, inner)
            told = sha256(self.files[path])
            if "api.github.com" in sums:
                assets = json.loads(self.files.get(sums, b'{"assets": []}'))["assets"]
                assets.append({"name": name, "digest": f"sha256:{told}"})
                self.files[sums] = json.dumps({"assets": assets}).encode()
            elif sums.endswith(".sha256"):
                self.files[sums] = told.encode()
            else:
                other = f"{'0' * 64}  other.tar.gz\n"
                self.files[sums] = f"{other}{told}  {name}\n".encode()

    def tamper(self, release: Release) -> str:
        """Change a byte of the release's first file; returns its URL."""
        url = release.files[0].url
        content = self.files[path_of(url)]
        self.files[path_of(url)] = content[:-1] + bytes([content[-1] ^ 1])
        return url


def packed(name: str, members: Mapping[str, bytes]) -> bytes:
    """An archive of the kind that `name` ends with."""
    content = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(content, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, data)
    else:
        with tarfile.open(fileobj=content, mode="w:gz") as tar:
            for member, data in members.items():
                entry = tarfile.TarInfo(member)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    return content.getvalue()


@contextmanager
def serving(site: LabContext) -> Iterator[LabContext]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            time.sleep(site.slow.get(self.path, 0))
            content = site.files.get(self.path)
            if site.broken[self.path] > 0:
                site.broken[self.path] -= 1
                self.send_error(503)
            elif content is None:
                self.send_error(404)
            else:
                self.send_content(content)

        def send_content(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            half = len(content) // 2
            self.wfile.write(content[:half])
            if site.cut[self.path] > 0:
                site.cut[self.path] -= 1
                return
            self.wfile.flush()
            time.sleep(site.stalled.get(self.path, 0))
            self.wfile.write(content[half:])

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that went away is what some tests are about."""

    with Server(("127.0.0.1", 0), Handler) as server:
        site.address = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield site
        server.shutdown()
