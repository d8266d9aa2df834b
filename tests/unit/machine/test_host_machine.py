"""What a host node puts back on its machine, and what it leaves because others may rely on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from machine import host_machine
from machine import host_places as places

FORWARD = "net/ipv4/ip_forward"
MOUNTS = """\
22 1 8:2 / / rw,relatime {propagation}- ext4 /dev/sda2 rw
23 22 0:21 / /proc rw,nosuid shared:5 - proc proc rw
"""
Write = Callable[[str, str], None]


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """A kernel's settings, interfaces and mounts, as files; with ip_forward and panic at 0."""
    monkeypatch.setattr(host_machine, "KERNEL", tmp_path / "sys")
    monkeypatch.setattr(host_machine, "INTERFACES", tmp_path / "net")
    monkeypatch.setattr(host_machine, "MOUNTS", tmp_path / "mountinfo")
    monkeypatch.setattr(host_machine, "SHARED", ())
    monkeypatch.setattr(host_machine, "own_files", list)

    def write(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    write("mountinfo", MOUNTS.format(propagation=""))
    for name in (FORWARD, "kernel/panic"):
        write(f"sys/{name}", "0\n")
    for name in ("lo", "eth0"):
        write(f"net/{name}/uevent", f"INTERFACE={name}\n")
    return write


def value(name: str) -> str:
    return (host_machine.KERNEL / name).read_text().strip()


def test_what_the_node_set_is_put_back(kernel: Write) -> None:
    before = host_machine.noted()
    kernel(f"sys/{FORWARD}", "1\n")
    kernel("sys/kernel/panic", "10\n")
    host_machine.put_back(before)
    assert (value(FORWARD), value("kernel/panic")) == ("0", "0")


def test_what_somebody_set_meanwhile_stays(kernel: Write) -> None:
    before = host_machine.noted()
    kernel("sys/kernel/panic", "30\n")
    host_machine.put_back(before)
    assert value("kernel/panic") == "30"


@pytest.mark.parametrize(
    "other",
    [
        {"net/docker0/uevent": "INTERFACE=docker0\n", "net/docker0/bridge/stp_state": "0"},
        {"net/tun0/uevent": "INTERFACE=tun0\n", "net/tun0/tun_flags": "0x1001"},
        {"net/wg0/uevent": "DEVTYPE=wireguard\nINTERFACE=wg0\n"},
    ],
)
def test_forwarding_stays_on_where_others_may_rely_on_it(
    kernel: Write, other: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Docker turns it on when it starts, and not again when somebody turns it off."""
    before = host_machine.noted()
    for name in (FORWARD, "kernel/panic"):
        kernel(f"sys/{name}", {FORWARD: "1"}.get(name, "10"))
    for path, text in other.items():
        kernel(path, text)
    host_machine.put_back(before)
    assert (value(FORWARD), value("kernel/panic")) == ("1", "0")
    (name,) = {path.split("/")[1] for path in other}
    assert f"stays 1: {name} may rely on it" in capsys.readouterr().err


def test_our_own_bridges_rely_on_nothing(kernel: Write) -> None:
    before = host_machine.noted()
    kernel(f"sys/{FORWARD}", "1")
    kernel(f"net/{places.POD_BRIDGE}/uevent", "")
    kernel(f"net/{places.POD_BRIDGE}/bridge/stp_state", "0")
    host_machine.put_back(before)
    assert value(FORWARD) == "0"


def test_the_node_of_an_earlier_version_is_put_back_too(kernel: Write) -> None:
    before = host_machine.noted()
    del before["root"]
    host_machine.put_back(before)


@pytest.mark.parametrize(
    ("optional", "propagation"),
    [
        ("", "private"),
        ("shared:1 ", "shared"),
        ("shared:1 master:2 ", "shared"),
        ("master:2 ", "slave"),
        ("master:2 propagate_from:3 ", "slave"),
        ("unbindable ", "unbindable"),
    ],
)
def test_whether_the_root_is_shared_is_put_back(
    kernel: Write, monkeypatch: pytest.MonkeyPatch, optional: str, propagation: str
) -> None:
    asked: list[tuple[str, ...]] = []

    def mount(*arguments: str) -> None:
        asked.append(arguments)
        kernel("mountinfo", MOUNTS.format(propagation="shared:9 "))

    monkeypatch.setattr(host_machine, "_mount", mount)
    kernel("mountinfo", MOUNTS.format(propagation=optional))
    before = host_machine.noted()
    host_machine.share_root()
    host_machine.put_back(before)
    changed = [("--make-shared", "/"), (f"--make-{propagation}", "/")]
    assert asked == ([] if propagation == "shared" else changed)


def test_a_root_that_was_never_shared_is_left_alone(
    kernel: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(host_machine, "_mount", lambda *arguments: asked.append(arguments))
    host_machine.put_back(host_machine.noted())
    assert asked == []
