"""Ending processes."""

from collections.abc import Sequence
from contextlib import suppress

import psutil


def stop(running: Sequence[psutil.Process], seconds: float = 5) -> list[psutil.Process]:
    """End the processes, by SIGTERM, then by SIGKILL; returns those that remain.

    seconds: how long they have to end, both times.
    """
    for process in running:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, stubborn = psutil.wait_procs(running, timeout=seconds)
    for process in stubborn:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _, remaining = psutil.wait_procs(stubborn, timeout=seconds)
    found = []
    for process in remaining:
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:  # which has ended
                found.append(process)
    return found
