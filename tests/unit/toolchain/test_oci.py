"""Images as tars: what is in them, and that the same files give the same image."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from toolchain import oci

REFERENCE = "localhost/test/image:1"


@pytest.fixture
def root(tmp_path: Path) -> oci.Root:
    """A program from a file, a text, a link, and a tree of which half is left out."""
    (tmp_path / "tree" / "tests").mkdir(parents=True)
    (tmp_path / "tree" / "tests" / "one").touch()
    (tmp_path / "tree" / "kept").write_text("kept")
    (tmp_path / "tree" / "linked").symlink_to("kept")
    (tmp_path / "program").write_bytes(b"\x7fELF")
    made = oci.Root()
    made.program("usr/bin/program", tmp_path / "program")
    made.file("etc/passwd", b"root:x:0:0")
    made.link("bin", "usr/bin")
    made.tree("tree", tmp_path / "tree", without=("tests",))
    return made


def layer_of(root: oci.Root, folder: Path) -> dict[str, tarfile.TarInfo]:
    root.write(folder / "layer.tar")
    with tarfile.open(folder / "layer.tar") as tar:
        return {member.name: member for member in tar}


def read(image: Path, name: str) -> Any:
    with tarfile.open(image) as tar:
        member = tar.extractfile(name)
        assert member is not None
        return json.loads(member.read())


def test_a_layer_has_every_file_after_its_folder(root: oci.Root, tmp_path: Path) -> None:
    assert list(layer_of(root, tmp_path)) == [
        *("bin", "etc", "etc/passwd", "tree", "tree/kept", "tree/linked"),
        *("usr", "usr/bin", "usr/bin/program"),
    ]


def test_members_have_their_kinds_and_modes(root: oci.Root, tmp_path: Path) -> None:
    layer = layer_of(root, tmp_path)
    assert (layer["bin"].issym(), layer["bin"].linkname) == (True, "usr/bin")
    assert layer["usr/bin/program"].mode == 0o755
    assert layer["etc/passwd"].mode == 0o644
    assert layer["tree/linked"].isreg(), "a link in a tree becomes what it points to"


def test_nothing_tells_when_or_by_whom_an_image_was_made(root: oci.Root, tmp_path: Path) -> None:
    for member in layer_of(root, tmp_path).values():
        assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")


def test_the_same_files_give_the_same_image(root: oci.Root, tmp_path: Path) -> None:
    oci.write(REFERENCE, root, {"User": "1:1"}, tmp_path / "a.tar")
    os.utime(tmp_path / "program", (1, 1))
    again = oci.Root(dict(reversed(root.members.items())))
    oci.write(REFERENCE, again, {"User": "1:1"}, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_an_image_is_named_and_whole(root: oci.Root, tmp_path: Path) -> None:
    image = tmp_path / "image.tar"
    oci.write(REFERENCE, root, {"User": "1:1"}, image)
    (listed,) = read(image, "index.json")["manifests"]
    assert listed["annotations"]["io.containerd.image.name"] == REFERENCE
    manifest = read(image, f"blobs/{listed['digest'].replace(':', '/')}")
    config = read(image, f"blobs/{manifest['config']['digest'].replace(':', '/')}")
    assert config["config"] == {"User": "1:1"}
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]


def test_every_blob_has_the_digest_that_is_its_name(root: oci.Root, tmp_path: Path) -> None:
    oci.write(REFERENCE, root, {}, tmp_path / "image.tar")
    with tarfile.open(tmp_path / "image.tar") as tar:
        blobs = [member for member in tar if member.isreg() and "sha256" in member.name]
        for blob in blobs:
            content = tar.extractfile(blob)
            assert content is not None
            assert hashlib.sha256(content.read()).hexdigest() == Path(blob.name).name
    assert len(blobs) == 3, "config, manifest, layer"


def test_nothing_but_the_image_stays(root: oci.Root, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    oci.write(REFERENCE, root, {}, tmp_path / "out" / "image.tar")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["image.tar"]
