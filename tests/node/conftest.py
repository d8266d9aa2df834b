"""This tier makes the machine that it runs on a node; it needs what a host node needs."""

from __future__ import annotations

import os
import sys

import pytest

from machine import host_node as machine_node


def reason() -> str:
    """Why it cannot run here, "" if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a host node needs root on Linux"
    if missing := machine_node.missing_tools():
        return f"make setup-host has not been run: {', '.join(missing)} missing"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if why := reason():
        for item in items:
            item.add_marker(pytest.mark.skip(reason=why))
