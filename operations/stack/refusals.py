"""Says in which manifest an object lies that an admission webhook refused."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path("manifests")
DENIED = re.compile(r'admission webhook "[^"]+" denied the request: .+', re.DOTALL)
"""How the API server hands on what a webhook says."""


def explain(message: str, item: Mapping[str, Any]) -> str:
    """The webhook's words with the file and the fix, "" for any other error. item: the object."""
    denied = DENIED.search(message)
    if not denied or "metadata" not in item:
        return ""
    name = f"{item['kind']}/{item['metadata']['name']}"
    return f"{_place(item)}: {name}: {denied[0].strip()}; correct it there, and run this again"


def _place(item: Mapping[str, Any]) -> str:
    """The file that has the object; for one that the lab made after the model of another, as for
    each percentage of module 5, the folder of its namespace."""
    wanted = _identity(item)
    folders = set()
    for path in sorted(MANIFESTS.glob("*/*.yaml")):
        for found in map(_identity, filter(None, yaml.safe_load_all(path.read_text()))):
            if found == wanted:
                return str(path)
            if found[0] == wanted[0]:
                folders.add(str(path.parent))
    return ", ".join(folders) or str(MANIFESTS)


def _identity(item: Mapping[str, Any]) -> tuple[str, str, str]:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), item["kind"], metadata["name"]
