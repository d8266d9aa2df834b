"""How set-up gets tools, as the user chooses with DRA_WORKSHOP_TOOLCHAIN (`make TOOLCHAIN=…`)."""

from __future__ import annotations

import os

from toolchain.errors import SetupError

AUTO, DOWNLOAD, BUILD = MODES = ("auto", "download", "build")


def read_mode() -> str:
    """One of MODES."""
    mode = os.environ.get("DRA_WORKSHOP_TOOLCHAIN") or AUTO
    if mode not in MODES:
        raise SetupError(f"TOOLCHAIN={mode} is not known; these are: {', '.join(MODES)}")
    return mode
