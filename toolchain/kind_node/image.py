"""What the image of kind's nodes is called, and what decides what is in it."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from toolchain import cache
from toolchain.kind_node import base, parts
from toolchain.tools import KUBERNETES_VERSION

NAME = "localhost/dra-workshop/kind-node"
FOLDER = "kind"
"""Below `.tools`."""
ARCHIVE = "kind-node.tar"
DESCRIPTION = "kind-node.json"
HERE = Path(__file__).resolve().parent
SETTINGS: Mapping[str, object] = {
    # systemd asks for it: https://systemd.io/CONTAINER_INTERFACE
    "Env": ["container=docker"],
    "Entrypoint": ["/usr/local/bin/entrypoint", "/sbin/init"],
    "StopSignal": "SIGRTMIN+3",
    "Labels": {
        "org.opencontainers.image.vendor": "dra-workshop",
        "org.opencontainers.image.description": "assembled by dra-workshop: a node of kind with "
        f"Kubernetes {KUBERNETES_VERSION}, not kind's own image",
    },
}


@dataclass(frozen=True)
class NodeImage:
    """What `.tools/kind/kind-node.json` says of the image beside it.

    reference: its name for Docker and for kind. kubernetes: version that its nodes have.
    archive: file beside the JSON, for `docker load`. sha256, bytes: of that file.
    config, manifest: digests, of which one is Docker's ID of the image (see `oci.Identity`).
    kind: version of kind whose files it holds.
    """

    reference: str
    kubernetes: str
    archive: str
    sha256: str
    bytes: int
    config: str
    manifest: str
    kind: str

    def write(self, folder: Path) -> None:
        (folder / DESCRIPTION).write_text(json.dumps(asdict(self), indent=2) + "\n")


def read(tools: Path) -> NodeImage | None:
    """The image that was built for a checkout, None where there is none.

    tools: the folder `.tools` of the checkout.
    """
    return described(tools / FOLDER)


def described(folder: Path) -> NodeImage | None:
    """The image that lies in a folder with its description, None where it does not."""
    try:
        told: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text())
    except FileNotFoundError:
        return None
    return NodeImage(**told) if (folder / ARCHIVE).exists() else None


@functools.cache
def digest() -> str:
    """Twelve hex digits over all that decides what is in the image, but for Debian's updates."""
    decided = (
        [(tool.name, tool.version, tool.digest) for tool in parts.TOOLS],
        base.digest(),
        SETTINGS,
        platform.machine(),
    )
    content = hashlib.sha256(repr(decided).encode())
    for path in makers():
        content.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return content.hexdigest()[:12]


def makers() -> list[Path]:
    """The source that decides how the image is made, and what of ours lies in it."""
    ours = [path for path in HERE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return [*sorted(ours), HERE.parent / "oci.py"]


def reference() -> str:
    return f"{NAME}:v{KUBERNETES_VERSION}-{digest()}"


def cache_name() -> str:
    return f"kind-node-{KUBERNETES_VERSION}-{digest()}"


def cached() -> Path | None:
    """The folder of the cache with the image and its description, None where it is not built."""
    folder = cache.folder() / cache_name()
    return folder if folder.is_dir() else None
