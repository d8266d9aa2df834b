"""Writes an image as one tar, in the layout of OCI, without Docker.

https://github.com/opencontainers/image-spec, image-layout.md, with the list of contents that
`docker load` reads besides (https://github.com/moby/docker-image-spec). The same files give the
same tar: members are sorted, belong to root and are as old as 1970.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from toolchain.tools import ARCHITECTURES

MEDIA_TYPE = "application/vnd.oci.image"


@dataclass
class Root:
    """The files of an image. Paths have no slash at their start."""

    members: dict[str, tuple[tarfile.TarInfo, Path | bytes]] = field(default_factory=dict)

    def folder(self, path: str, mode: int = 0o755) -> None:
        self._add(path, tarfile.DIRTYPE, mode)

    def link(self, path: str, target: str) -> None:
        self._add(path, tarfile.SYMTYPE, 0o777).linkname = target

    def file(self, path: str, content: Path | bytes, mode: int = 0o644) -> None:
        info = self._add(path, tarfile.REGTYPE, mode, content)
        info.size = len(content) if isinstance(content, bytes) else content.stat().st_size

    def program(self, path: str, content: Path | bytes) -> None:
        self.file(path, content, 0o755)

    def tree(self, path: str, source: Path, without: Iterable[str] = ()) -> None:
        """All files in a folder; links become what they point to.

        without: patterns of paths in the folder that are left out with all in them.
        """
        patterns = tuple(without)

        def wanted(entry: Path) -> bool:
            relative = entry.relative_to(source).as_posix()
            return not any(fnmatch(relative, pattern) for pattern in patterns)

        for parent, folders, names in os.walk(source):
            folders[:] = [name for name in folders if wanted(Path(parent) / name)]
            for file in (Path(parent) / name for name in names):
                if wanted(file):
                    self.file(f"{path}/{file.relative_to(source).as_posix()}", file)

    def write(self, target: Path) -> None:
        """As a tar, which is what a layer of an image is."""
        with tarfile.open(target, "w") as tar:
            for path in sorted(self.members):
                _append(tar, *self.members[path])

    def _add(
        self, path: str, kind: bytes, mode: int, content: Path | bytes = b""
    ) -> tarfile.TarInfo:
        parent = str(PurePosixPath(path).parent)
        if parent != "." and parent not in self.members:
            self.folder(parent)
        info = tarfile.TarInfo(path)  # of root, and of the time 0
        info.type = kind
        info.mode = mode
        self.members[path] = (info, content)
        return info


@dataclass(frozen=True)
class Identity:
    """What programs know an image by, each as sha256:HEX.

    config: Docker's ID of an image. manifest: containerd's, and Docker's own where containerd
    keeps its images.
    """

    config: str
    manifest: str


def write(reference: str, root: Root, settings: Mapping[str, object], target: Path) -> Identity:
    """The image as one tar: https://github.com/opencontainers/image-spec (image-layout.md)."""
    layer = target.with_suffix(".layer")
    root.write(layer)
    return wrap(reference, layer, settings, target)


def wrap(reference: str, layer: Path, settings: Mapping[str, object], target: Path) -> Identity:
    """The image whose one layer is a tar that is there already, and that is removed."""
    with layer.open("rb") as content:
        layer_digest = f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"
    platform_ = {"architecture": ARCHITECTURES[platform.machine()], "os": "linux"}
    config = _json(
        {
            **platform_,
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{MEDIA_TYPE}.manifest.v1+json",
            "config": _described(f"{MEDIA_TYPE}.config.v1+json", config),
            "layers": [
                {
                    "mediaType": f"{MEDIA_TYPE}.layer.v1.tar",
                    "digest": layer_digest,
                    "size": layer.stat().st_size,
                }
            ],
        }
    )
    named = {
        **_described(f"{MEDIA_TYPE}.manifest.v1+json", manifest),
        "platform": platform_,
        # The first is containerd's, and is taken as it is; the second is for other programs.
        "annotations": {
            "io.containerd.image.name": reference,
            "org.opencontainers.image.ref.name": reference,
        },
    }
    image = Root()
    image.file("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
    image.file("index.json", _json({"schemaVersion": 2, "manifests": [named]}))
    for_docker: dict[str, object] = {
        "Config": _blob(_digest(config)),
        "RepoTags": [reference],
        "Layers": [_blob(layer_digest)],
    }
    image.file("manifest.json", _json([for_docker]))
    for blob in (config, manifest):
        image.file(_blob(_digest(blob)), blob)
    image.file(_blob(layer_digest), layer)
    image.write(target)
    layer.unlink()
    return Identity(_digest(config), _digest(manifest))


def _json(content: Mapping[str, object] | list[dict[str, object]]) -> bytes:
    return json.dumps(content, sort_keys=True).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _described(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _append(tar: tarfile.TarFile, info: tarfile.TarInfo, content: Path | bytes) -> None:
    if isinstance(content, bytes):
        tar.addfile(info, io.BytesIO(content))
    else:
        with content.open("rb") as file:
            tar.addfile(info, file)
