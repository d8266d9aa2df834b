"""Names of a Kind cluster and its nodes, and when their containers were started."""

import json
from typing import Any

from machine.run import ProgramError, run_program

PREFIX = "dra-workshop-"
CONFIG = "kind.yaml"
"""The stack's file of kind's configuration: the sign of a cluster, whole or half-made."""
MOCKED_DRIVER = "/opt/dra-workshop/gpu/driver"
"""The root of a mocked GPU driver in a node, whose disk keeps it when the node is restarted."""
ANSWER_SECONDS = 10


def cluster(stack: str) -> str:
    """kind's name of the stack's cluster; contexts and containers are named after it."""
    return f"{PREFIX}{stack}"


def control_plane(stack: str) -> str:
    return f"{cluster(stack)}-control-plane"


def workers(stack: str, count: int) -> list[str]:
    """Names of the worker nodes and of their containers: the first is worker, the next worker2."""
    numbers = ("", *range(2, count + 1))[:count]
    return [f"{cluster(stack)}-worker{number}" for number in numbers]


def started(containers: list[str]) -> dict[str, str]:
    """Container → when it was started last, of those that run; {} where Docker does not answer.

    A container that was started again has lost its mounts in memory, CDI specs among them.
    """
    command = ["docker", "container", "inspect", "--format", "{{json .}}", *containers]
    try:
        lines = run_program(command, seconds=ANSWER_SECONDS, check=False).output.splitlines()
    except ProgramError:
        return {}
    found: list[dict[str, Any]] = [json.loads(line) for line in lines if line]
    return {
        container["Name"].removeprefix("/"): container["State"]["StartedAt"]
        for container in found
        if container["State"]["Running"]
    }
