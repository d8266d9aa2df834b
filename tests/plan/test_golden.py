"""The plan of every committed stack, as text: what it makes, and out of what.

`make golden` writes the files anew; read their diff as a reviewer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.checkout import NO_NETWORK, Checkout
from toolchain.install import committed_stacks

GOLDEN = Path(__file__).parent / "golden"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""How Pulumi's JSON writes a value that is not known before the update."""
WARNING = "resource plugin command is expected to have version"


@pytest.mark.parametrize("stack", committed_stacks())
def test_the_plan_is_the_golden_one(
    checkout: Checkout, stack: str, request: pytest.FixtureRequest
) -> None:
    checkout.stack(stack)
    done = checkout.pulumi("preview", "--json", "--stack", stack, **NO_NETWORK)
    assert done.code == 0, done.text
    found = plan(json.loads(done.text))
    golden = GOLDEN / f"{stack}.yaml"
    if request.config.getoption("--golden"):
        golden.write_text(found)
    assert found == golden.read_text(), "the plan changed; `make golden` writes it anew"


def test_a_preview_makes_nothing_and_warns_of_nothing_else(checkout: Checkout) -> None:
    checkout.pulumi("stack", "init", "other", "--no-select")
    done = checkout.pulumi("preview", "--stack", "other", **NO_NETWORK)
    assert done.code == 0, done.text
    warnings = [line for line in done.text.splitlines() if "warning:" in line]
    assert warnings
    assert all(WARNING in line for line in warnings)
    assert not (checkout.folder / ".run").exists()
    assert checkout.processes() == []


def plan(preview: dict[str, Any]) -> str:
    """The resources of a preview, by name, with their inputs, as YAML."""
    resources = {}
    for step in preview["steps"]:
        state = step["newState"]
        kinds, _, name = step["urn"].rpartition("::")
        kind = kinds.rpartition("$")[2].rpartition("::")[2]
        if kind.startswith("pulumi:providers:command"):
            continue
        resources[f"{kind} {name}"] = {"op": step["op"], **_inputs(state.get("inputs", {}))}
    return yaml.safe_dump(resources, sort_keys=True, width=100)


def _inputs(inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs without what changes with every edit of a program: digests and program texts."""
    kept = {key: value for key, value in inputs.items() if not key.startswith("__")}
    if "stdin" in kept and kept["stdin"] != UNKNOWN:
        kept["stdin"] = json.loads(kept["stdin"])
        for changing in ("digest", "life"):
            kept["stdin"].pop(changing, None)
    if "data" in kept:
        kept["data"] = {
            key: value if len(str(value)) < 40 else "…" for key, value in kept["data"].items()
        }
    return {"inputs": _readable(kept)} if kept else {}


def _readable(value: Any) -> Any:
    if value == UNKNOWN:
        return "known when it is updated"
    if isinstance(value, dict):
        return {key: _readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    return value
