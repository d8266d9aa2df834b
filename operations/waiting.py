"""Waiting for what takes a while."""

from __future__ import annotations

import tenacity

PAUSE_SECONDS = 0.1


def until(seconds: float, unless: type[Exception]) -> tenacity.Retrying:
    """Calls what it is given again and again until it raises `unless` no more.

    Raises what it raised last when the time is over, and any other error at once.
    """
    return tenacity.Retrying(
        stop=tenacity.stop_after_delay(seconds),
        wait=tenacity.wait_fixed(PAUSE_SECONDS),
        retry=tenacity.retry_if_exception_type(unless),
        reraise=True,
    )
