"""`make kind-node-image`: the image in the cache, and at hand in `.tools/kind`."""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolchain import build as tools_of
from toolchain import cache, install, oci
from toolchain.errors import SetupError, in_words
from toolchain.kind_node import base, image, parts, preload, root
from toolchain.kind_node.image import ARCHIVE, DESCRIPTION, FOLDER, NodeImage
from toolchain.progress import say
from toolchain.tools import KIND, KUBERNETES_VERSION


def build() -> NodeImage:
    """Have the image; what was done by an earlier try, also one that broke off, is not done again.

    Raises SetupError with a remedy before anything is changed, if this machine cannot build it.
    """
    started = time.monotonic()
    placed = image.read(install.TOOLS)
    if placed is not None and placed.reference == image.reference():
        return placed
    if image.cached() is None:
        if sys.platform != "linux":
            raise SetupError(f"the image of kind's nodes needs Linux, and this is {sys.platform}")
        base.require()
        install.have(parts.unbuilt, cache.KIND_NODE_NEEDED_GB)
        with tools_of.alone():
            if image.cached() is None:  # another build may have made it meanwhile
                try:
                    _assemble()
                    _remove_earlier()
                except OSError as error:
                    raise SetupError(in_words(error)) from error
    made = _place()
    seconds = time.monotonic() - started
    say(f"image {made.reference}, {made.bytes / 1e6:.0f} MB, is in .tools/kind ({seconds:.0f} s)")
    return made


def _assemble() -> None:
    packages = base.tar()
    source = {"assembled": image.reference(), "of": [tool.cache_name for tool in parts.TOOLS]}
    with cache.filled(image.cache_name(), source) as folder:
        node, layer = folder / "root", folder / "node.layer"
        with _told("laying programs and settings over Debian's packages"):
            base.unpack(packages, node)
            root.fill(node)
        with _told("putting the images of the control plane into the node's store"):
            images = folder / "images"
            images.mkdir()
            preload.load(node, images)
            shutil.rmtree(images)
        with _told("packing the image"):
            base.pack(node, layer, base.LEFT_OUT[:5])
            shutil.rmtree(node)
            identity = oci.wrap(image.reference(), layer, image.SETTINGS, folder / ARCHIVE)
        _describe(folder, identity)


@contextmanager
def _told(what: str) -> Iterator[None]:
    started = time.monotonic()
    say(what)
    yield
    say(f"{what}: done in {time.monotonic() - started:.0f} s")


def _describe(folder: Path, identity: oci.Identity) -> None:
    archive = folder / ARCHIVE
    with archive.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    NodeImage(
        reference=image.reference(),
        kubernetes=KUBERNETES_VERSION,
        archive=ARCHIVE,
        sha256=sha256,
        bytes=archive.stat().st_size,
        config=identity.config,
        manifest=identity.manifest,
        kind=KIND.version,
    ).write(folder)


def _remove_earlier() -> None:
    """Images in the cache that this one takes the place of; checkouts that have them keep them."""
    for folder in cache.folder().glob(f"{image.cache_name().rpartition('-')[0]}-*"):
        if folder.name != image.cache_name():
            shutil.rmtree(folder, ignore_errors=True)


def _place() -> NodeImage:
    """Put the image and its description into `.tools/kind`; the description last."""
    folder, target = image.cached(), install.TOOLS / FOLDER
    assert folder is not None  # noqa: S101
    target.mkdir(parents=True, exist_ok=True)
    (target / DESCRIPTION).unlink(missing_ok=True)
    for name in (ARCHIVE, DESCRIPTION):
        install.link(folder / name, target / name)
    made = image.read(install.TOOLS)
    assert made is not None  # noqa: S101
    return made
