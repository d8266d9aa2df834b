"""What a Kind cluster and its nodes are called, and when their containers were started."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from machine.run import ProgramError, run_program

PREFIX = "dra-workshop-"
CONFIG = "kind.yaml"
"""File of the stack that says what kind was told: the sign of a cluster, whole or half-made."""
ANSWER_SECONDS = 10


def cluster(stack: str) -> str:
    """kind's name of the stack's cluster; contexts and containers are called after it."""
    return f"{PREFIX}{stack}"


def control_plane(stack: str) -> str:
    return f"{cluster(stack)}-control-plane"


def workers(stack: str, count: int) -> list[str]:
    """Names of the worker nodes and of their containers, as kind gives them."""
    return [f"{cluster(stack)}-worker{index or ''}" for index in _numbers(count)]


def _numbers(count: int) -> Iterable[int]:
    """kind calls the first one worker, and the next worker2."""
    return (0 if index == 1 else index for index in range(1, count + 1))


def started(containers: list[str]) -> dict[str, str]:
    """Container → when it was started last, of those that run; {} where Docker does not answer.

    A container that was started again has lost its mounts in memory, CDI specs among them.
    """
    try:
        asked = run_program(
            ["docker", "container", "inspect", "--format", "{{json .}}", *containers],
            seconds=ANSWER_SECONDS,
            check=False,
        )
    except ProgramError:
        return {}
    found: list[dict[str, Any]] = [json.loads(line) for line in asked.output.splitlines() if line]
    return {
        container["Name"].removeprefix("/"): container["State"]["StartedAt"]
        for container in found
        if container["State"]["Running"]
    }
