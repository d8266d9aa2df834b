"""What the archive of a bundle may hold."""

from __future__ import annotations

import io
import lzma
import sys
import tarfile
from dataclasses import replace

import pytest

from tests.unit.toolchain.bundle.conftest import OLD_PYTHON, Machine, write


def holding(machine: Machine, *members: tarfile.TarInfo) -> Machine:
    """The same bundle with these members in its archive, each with a byte if it is a file."""
    for name in machine.manifest.archive:
        (machine.here / name).unlink()
    with (
        lzma.open(machine.here / "evil.tar.xz", "w") as content,
        tarfile.open(fileobj=content, mode="w") as tar,
    ):
        for member in members:
            member.size = 1 if member.isreg() else 0
            tar.addfile(member, io.BytesIO(b"!"))
    return replace(machine, manifest=replace(machine.manifest, archive=["evil.tar.xz"])).sealed()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize("python", ["", OLD_PYTHON], ids=["this Python", "3.11.2"])
@pytest.mark.parametrize(
    "members",
    [
        [member("project/../../evil")],
        [member("project//evil")],
        [member("project/a", tarfile.SYMTYPE, "/")],
        [member("project/a", tarfile.SYMTYPE, "../..")],
        [member("project/a", tarfile.SYMTYPE, "."), member("project/a/evil")],
        [
            member("project/d/up", tarfile.SYMTYPE, ".."),
            member("project/a", tarfile.SYMTYPE, "d/up/../.."),
        ],
        [member("project/a", tarfile.LNKTYPE, "../../other/theirs")],
        [member("project/a", tarfile.LNKTYPE, "/etc/passwd")],
        [member("project/a", tarfile.CHRTYPE)],
        [member("project/a", tarfile.FIFOTYPE)],
    ],
    ids=[
        "up",
        "root",
        "link",
        "link-up",
        "through",
        "behind",
        "hard",
        "hard-root",
        "device",
        "pipe",
    ],
)
def test_what_leads_out_of_the_folder_is_not_unpacked(
    machine: Machine, members: list[tarfile.TarInfo], python: str
) -> None:
    write(machine.into.with_name("other") / "theirs", "")
    refused = holding(machine, *members).install(*[sys.executable, "-c", python] * bool(python))
    name = members[-1].name.removeprefix("project/")
    assert f": {name} is no file, or leads out of its folder" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert refused.returncode == 1
    assert not machine.into.exists()
    assert list(machine.cache.iterdir()) == [machine.cache / "build.lock"]
    assert {path.name for path in machine.into.parent.rglob("evil*")} <= {"evil.tar.xz"}
