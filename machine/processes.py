"""Ending processes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import psutil


def stop(running: Sequence[psutil.Process], seconds: float = 5) -> list[psutil.Process]:
    """End the processes, politely first; returns those that are still there.

    seconds: how long they have to end, both times.
    """
    for process in running:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, stubborn = psutil.wait_procs(running, timeout=seconds)
    for process in stubborn:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _, left = psutil.wait_procs(stubborn, timeout=seconds)
    return [process for process in left if not _is_zombie(process)]


def _is_zombie(process: psutil.Process) -> bool:
    """Whether it has ended, and only its parent has not asked how."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    return True
