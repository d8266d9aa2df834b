"""Keeps what an update found before it broke off, with its configuration and its versions."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from yaml import YAMLError

from machine import identity
from machine.configuration import list_keys, read_configuration
from results import store
from results.status import count_bases, merged_results
from toolchain import tools
from toolchain.layout import TOOLS

ON_PATH = "on PATH"


def keep(stack: str, since: float, reason: str) -> Path:
    """Keep its results; returns the file.

    since: when it began, seconds since 1970; reason: why it broke off.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((store.RESULTS / stack / "checks").glob("*.json")):
        record = json.loads(path.read_text())
        if path.stat().st_mtime >= since and record["result"]:
            found.setdefault(record["result"]["module"], []).append(record["result"])
    verification = {module: merged_results(results) for module, results in found.items()}
    content: dict[str, Any] = {
        "status": "failed",
        "reason": reason,
        "verification": verification,
        "basis": count_bases(verification.values()),
        "versions": known_versions(stack),
    }
    with suppress(OSError, YAMLError, AttributeError):  # the stack's file is lost or damaged
        content["configuration"] = configuration(stack)
    return store.keep(stack, content, since)


def configuration(stack: str) -> dict[str, Any]:
    """The settings of the stack's file, with the project's defaults: texts, lists, numbers, true
    and false."""
    lists = list_keys()
    found: dict[str, Any] = dict(read_configuration(stack))
    for key, text in found.items():
        with suppress(ValueError):
            value = json.loads(text)
            found[key] = value if key in lists or isinstance(value, int) else text
    return found


def known_versions(stack: str) -> dict[str, Any]:
    """Of the tools, and of Kubernetes where there is a cluster. What the graph had still to find
    out is not known."""
    facts = identity.known_facts(stack)
    wanted = facts.get("specification", {}).get("kubernetes_version", "")
    unknown = {"draDriver": "", "gpuDriver": ""}
    return unknown | {"kubernetes": facts.get("version", wanted), "tools": tool_versions()}


def tool_versions() -> dict[str, str]:
    """The versions of the tools that set-up placed in this checkout, by name."""
    try:
        placed = json.loads((TOOLS / "placed.json").read_text())
    except (OSError, ValueError):
        return {}
    return {
        tool.name: ON_PATH if placed[tool.name].startswith(ON_PATH) else tool.version
        for value in vars(tools).values()
        for tool in (value if isinstance(value, tuple) else (value,))
        if isinstance(tool, tools.Tool) and tool.name in placed
    }
