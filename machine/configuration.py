"""A stack's configuration as its files have it, with the project's defaults."""

import json
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path("Pulumi.yaml")


def read_configuration(stack: str) -> dict[str, str]:
    """Key → text, as Pulumi hands it to the program."""
    project = yaml.safe_load(PROJECT.read_text())
    defaults = {key: entry["default"] for key, entry in project["config"].items()}
    given = yaml.safe_load(Path(f"Pulumi.{stack}.yaml").read_text()).get("config") or {}
    prefix = f"{project['name']}:"
    own = {key.removeprefix(prefix): value for key, value in given.items()}
    return {key: as_text(value) for key, value in (defaults | own).items()}


def list_keys() -> set[str]:
    """The keys whose values are lists."""
    declared = yaml.safe_load(PROJECT.read_text())["config"]
    return {key for key, entry in declared.items() if entry["type"] == "array"}


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
