"""What the JSON of a preview says of resources, made readable: for golden plans and for diffs."""

import json
from typing import Any

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""How Pulumi's JSON writes a value that is not known before the update."""


def kind_and_name(urn: str) -> tuple[str, str]:
    """Type and name of a resource, such as ("kubernetes:core/v1:Pod", "module3-pod-1")."""
    kinds, _, name = urn.rpartition("::")
    return kinds.rpartition("$")[2].rpartition("::")[2], name


def inputs(state: dict[str, Any]) -> dict[str, Any]:
    """The inputs of a step's oldState or newState, without the engine's own; the JSON that a
    program of ours reads on stdin as its value."""
    given = state.get("inputs", {})
    kept = {key: _readable(value) for key, value in given.items() if not key.startswith("__")}
    if "stdin" in kept and given["stdin"] != UNKNOWN:
        kept["stdin"] = _readable(json.loads(given["stdin"]))
    return kept


def _readable(value: Any) -> Any:
    if value == UNKNOWN:
        return "known when it is updated"
    if isinstance(value, dict):
        return {key: _readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    return value
