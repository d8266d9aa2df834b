"""What makes this machine a node of a cluster, as `make setup-host` places it in `.tools`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toolchain.images import IMAGES
from toolchain.tools import HOST_BUILT, HOST_RELEASES, Tool

PLACED: Sequence[Tool] = (*HOST_RELEASES, *HOST_BUILT, *IMAGES)
REMEDY = "run: make setup-host"


def missing(tools: Path) -> list[str]:
    """The files that are not there, relative to `tools`, the folder `.tools` of a checkout.

    Programs come as bin/NAME and cni/NAME, images as images/NAME.tar.
    """
    files = [f"{tool.into}/{name}" for tool in PLACED for name in tool.places]
    return [file for file in files if not (tools / file).exists()]
