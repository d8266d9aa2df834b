"""Which lab this is: a random id, made once and kept beside Pulumi's state.

It tells a lab's namespaces, containers, processes and node from those of another lab of the same
name. Neither the machine's name nor the checkout's path is in it, as both may change.
"""

import json
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from machine.files import read_json

STATE = Path(".state")
"""Pulumi's local backend."""
IDS = STATE / "labs"
"""One file a stack, which holds the lab's id."""
MARK = "DRA_WORKSHOP_LAB"
"""Environment variable, with the id, of the lab's processes."""
CLUSTER = "command:local:Command::cluster"
"""How the URN ends of the Command that made the cluster, or attached the lab to it."""


def of(stack: str) -> str:
    """The id of the stack's lab, twelve hex digits; made now if it has none."""
    path = IDS / stack
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{stack}.{secrets.token_hex(4)}")
        new.write_text(f"{known(stack) or secrets.token_hex(6)}\n", encoding="utf-8")
        try:
            path.hardlink_to(new)
        except FileExistsError:
            pass  # another program of the same update was faster
        except OSError:  # a file system without hard links
            new.replace(path)
        new.unlink(missing_ok=True)
    return path.read_text(encoding="utf-8").strip()


def known(stack: str) -> str:
    """The same, "" if it has none. Labs of earlier versions have it in their facts only."""
    with suppress(FileNotFoundError):
        return (IDS / stack).read_text(encoding="utf-8").strip()
    return str(facts(stack).get("lab", "") or in_state(stack).get("lab", ""))


def facts(stack: str, name: str = "cluster.json") -> dict[str, Any]:
    """The facts of the stack's cluster, {} if it has none: they are written last, so a half-made
    one has none either. name: of the file of facts in the cluster's folder."""
    return _with_cluster_id(read_json(Path(".run") / stack / name))


def parse_facts(text: str) -> dict[str, Any]:
    """The facts of a cluster or a host node, as the program that made it printed them."""
    return _with_cluster_id(json.loads(text))


def _with_cluster_id(facts: dict[str, Any]) -> dict[str, Any]:
    """Labs of earlier versions called it incarnation."""
    return {"cluster_id" if key == "incarnation" else key: facts[key] for key in facts}


def known_facts(stack: str) -> dict[str, Any]:
    """By its files or, where those are lost, by the state."""
    return facts(stack) or in_state(stack)


def in_state(stack: str) -> dict[str, Any]:
    """The same as Pulumi's state knows them."""
    with suppress(OSError, ValueError, KeyError):
        for resource in resources(stack):
            if resource["urn"].endswith(CLUSTER):
                return parse_facts(resource["outputs"]["stdout"])
    return {}


def resources(stack: str) -> list[dict[str, Any]]:
    """All that the stack's state knows; raises as `deployment` does."""
    return deployment(stack).get("resources") or []


def deployment(stack: str) -> dict[str, Any]:
    """What the stack's state says of its last operation: resources, pending_operations; {} for no
    state or operation. Raises OSError, ValueError, KeyError for a damaged state."""
    try:
        state = json.loads(state_of(stack).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return state["checkpoint"].get("latest") or {}


def state_of(stack: str) -> Path:
    """The file of the stack's state."""
    return STATE / ".pulumi" / "stacks" / "dra-workshop" / f"{stack}.json"
