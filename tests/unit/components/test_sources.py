"""A check runs again when code that it uses changes, and only then."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.modules.registry import modules
from components.sources import MAIN, of_check
from machine.programs import CHECKS

ROOT = Path(__file__).parents[3]
PACKAGES = ("checks", "components", "kube", "machine", "report", "results", "toolchain")
POD_CHECKS = {
    check for module in modules().values() if module.namespaces for check in module.checks
}
DIGESTS = """
import json
from components.runs import run_of
from machine.programs import CHECKS
print(json.dumps({name: run_of("lab", name, "1").digest for name in CHECKS}))
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's programs."""
    root = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return root


def digests(root: Path) -> dict[str, str]:
    command = [sys.executable, "-B", "-c", DIGESTS]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def before(tree: Path) -> dict[str, str]:
    return digests(tree)


@pytest.mark.parametrize(
    ("file", "checks"),
    [
        ("checks/prerequisites/kind.py", {"workstation"}),
        ("checks/prerequisites/existing.py", {"existing"}),
        ("checks/modules/mps_memory.py", {"mps-memory"}),
        ("checks/pod_scenario.py", POD_CHECKS),
        ("checks/result.py", set(CHECKS)),
        ("checks/__main__.py", set(CHECKS)),
        ("checks/alone.py", set()),
        ("checks/verdict.py", set()),
        ("report/results.py", set()),
        ("components/lab.py", set()),
    ],
)
def test_a_change_repeats_the_checks_that_use_the_file(
    tree: Path, before: dict[str, str], file: str, checks: set[str]
) -> None:
    path = tree / file
    was = path.read_text()
    path.write_text(f"{was}# a comment\n")
    after = digests(tree)
    path.write_text(was)
    assert {name for name in CHECKS if after[name] != before[name]} == checks


def test_a_change_in_the_client_repeats_every_check_of_pods(
    tree: Path, before: dict[str, str]
) -> None:
    path = tree / "kube" / "client.py"
    was = path.read_text()
    path.write_text(f"{was}# a comment\n")
    after = digests(tree)
    path.write_text(was)
    changed = {name for name in CHECKS if after[name] != before[name]}
    assert changed >= POD_CHECKS | {"cluster", "driver"}
    assert "prerequisites" not in changed


def test_a_file_that_only_a_function_imports_counts(tree: Path, before: dict[str, str]) -> None:
    added = tree / "kube" / "added.py"
    path = tree / "checks" / "modules" / "exclusive.py"
    was = path.read_text()
    path.write_text(f"{was}\n\ndef later() -> None:\n    from kube import added as other\n")
    seen = []
    for content in ("", "FIXED = True\n"):
        added.write_text(content)
        seen.append(digests(tree))
    path.write_text(was)
    added.unlink()
    assert {name for name in CHECKS if seen[0][name] != seen[1][name]} == {"exclusive"}


@pytest.mark.parametrize("name", CHECKS)
def test_the_files_of_a_check_are_those_that_its_source_imports(name: str) -> None:
    """As Python itself reads the source."""
    found: set[Path] = set()
    queue = [MAIN, CHECKS[name]]
    while queue:
        files = set(files_of(queue.pop())) - found
        found |= files
        queue += [module for file in files for module in imports(file)]
    assert set(of_check(name)) == {file.relative_to(ROOT) for file in found}


def files_of(module: str) -> list[Path]:
    parts = module.split(".")
    paths = [ROOT.joinpath(*parts[: depth + 1]) for depth in range(len(parts))]
    files = [file for path in paths for file in (path / "__init__.py", path.with_suffix(".py"))]
    return [file for file in files if file.is_file()]


def imports(file: Path) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: import by the whole name"
            found += [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found
