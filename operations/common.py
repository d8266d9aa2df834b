"""What the programs for all kinds of clusters do in the same way."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml

from kube.errors import KubeError
from machine.cluster_state import is_being_removed
from machine.errors import LabError
from machine.processes import stop


@contextmanager
def prefixed(what: str) -> Iterator[None]:
    """Turn a KubeError of the block into a LabError whose text begins with `what`."""
    try:
        yield
    except KubeError as error:
        raise LabError(f"{what}: {error}") from error


def make_anew(stack: str) -> str:
    """The commands that replace a cluster that cannot be used any more."""
    return f"make destroy STACK={stack}, then: make up STACK={stack}"


def require_not_being_removed(stack: str) -> None:
    """Objects on a cluster whose removal was begun are gone for good; raises LabError there."""
    if is_being_removed(stack):
        raise LabError(
            f"the removal of stack {stack} was begun and not finished",
            f"finish it with: make destroy STACK={stack}",
        )


def end(running: Sequence[psutil.Process], owner: str) -> None:
    """End processes. Raises LabError that names those that do not end."""
    if remaining := stop(running):
        numbers = ", ".join(str(process.pid) for process in remaining)
        raise LabError(f"processes of {owner} do not end: {numbers}")


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise LabError(f"{folder} cannot be removed; remove it by hand and try again")


def read_server(kubeconfig: Path) -> str:
    """The URL of the API server."""
    return str(yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"])
