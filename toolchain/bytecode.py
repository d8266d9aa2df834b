"""Has Python compile what the lab uses, as its first start would: `python -m toolchain.bytecode`.

Several programs start at once in an update, and each would compile the same files; where Python is
told to keep no bytecode, at every start. All packages would take three times as long: 4,200 files
instead of 1,900, 14 s of processor time instead of 4 (measured).
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import pkgutil
import sys
from contextlib import suppress

PACKAGES = ("components", "checks", "operations", "report", "toolchain")
PROGRAM = "__main__"


def main() -> None:
    sys.dont_write_bytecode = False
    for package in PACKAGES:
        for module in pkgutil.walk_packages([package], f"{package}."):
            with suppress(ImportError):  # what is for another platform
                _compile(module.name)


def _compile(name: str) -> None:
    """Import a module, with all that it imports; of a program only keep what it is compiled to."""
    if name.rpartition(".")[2] != PROGRAM:
        importlib.import_module(name)
        return
    spec = importlib.util.find_spec(name)
    if spec is not None and isinstance(spec.loader, importlib.abc.InspectLoader):
        spec.loader.get_code(name)


if __name__ == "__main__":
    main()
