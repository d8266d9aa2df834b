"""Which files a check program is made of: a change in one of them is another program.

They are found in the source, without importing anything: this is on the way of every preview.
"""

import re
from functools import cache
from pathlib import Path

from machine.programs import CHECKS

MAIN = "checks.__main__"
"""Runs every check program."""
IMPORT = re.compile(
    r"^[ \t]*(?:from[ ]([\w.]+)[ ]import[ ](\([^)]*\)|[^\n(]+)|import[ ]([^\n]+))", re.MULTILINE
)
"""An import statement, also one inside a function. To parse whole files takes ten times as long;
what only looks like a statement names no file of the project."""
COMMENT = re.compile(r"#.*")


def of_check(*names: str) -> tuple[Path, ...]:
    """The files of these check programs."""
    return imported_by(MAIN, *(CHECKS[name] for name in names))


def imported_by(*modules: str) -> tuple[Path, ...]:
    """The files of these modules and of all that they import, however indirectly."""
    found: set[Path] = set()
    queue = list(modules)
    while queue:
        files = set(_files_of(queue.pop())) - found
        found |= files
        queue += [name for path in files for name in _imports(path)]
    return tuple(sorted(found))


@cache
def _files_of(module: str) -> tuple[Path, ...]:
    """The module's file after those of the packages that it is in; none if it is not ours."""
    parts = module.split(".")
    if not Path(parts[0]).is_dir():
        return ()
    names = [Path(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    files = (file for name in names for file in (name / "__init__.py", name.with_suffix(".py")))
    return tuple(file for file in files if file.is_file())


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """The modules that the file may import: what is imported from a package may be one."""
    found: list[str] = []
    for package, names, modules in IMPORT.findall(path.read_text(encoding="utf-8")):
        listed = COMMENT.sub("", names or modules).strip("()").split(",")
        bare = [name.split()[0] for name in listed if name.strip()]
        found += [package, *(f"{package}.{name}" for name in bare)] if package else bare
    return tuple(found)
