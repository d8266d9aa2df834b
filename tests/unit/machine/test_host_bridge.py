"""Removing the host node's network while the networks of its pods go by themselves."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from machine import host_bridge
from machine import host_places as places

BRIDGE, POD = 7, 8


class Link(dict[str, Any]):
    def get_attr(self, name: str) -> Any:
        return self[name]


class Kernel:
    """One of our bridges, with a pod's interface; `code`: how its removal fails."""

    deleted: list[int]

    def __init__(self, code: int) -> None:
        self.code, self.deleted = code, []

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def link_lookup(self, ifname: str) -> list[int]:
        return [BRIDGE] if ifname == places.POD_BRIDGE else []

    def get_links(self) -> list[Link]:
        return [Link(index=BRIDGE, IFLA_MASTER=None), Link(index=POD, IFLA_MASTER=BRIDGE)]

    def link(self, _action: str, index: int) -> None:
        if index == POD and self.code:
            raise NetlinkError(self.code)
        self.deleted.append(index)


@pytest.mark.parametrize(("code", "deleted"), [(0, [POD, BRIDGE]), (errno.ENODEV, [BRIDGE])])
def test_an_interface_that_has_gone_meanwhile_is_no_error(
    monkeypatch: pytest.MonkeyPatch, code: int, deleted: list[int]
) -> None:
    kernel = Kernel(code)
    monkeypatch.setattr(host_bridge, "IPRoute", lambda: kernel)
    host_bridge.remove()
    assert kernel.deleted == deleted


def test_one_that_cannot_be_removed_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_bridge, "IPRoute", lambda: Kernel(errno.EPERM))
    with pytest.raises(NetlinkError):
        host_bridge.remove()
