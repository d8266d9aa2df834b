"""What the programs for all kinds of clusters do in the same way."""

import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import yaml

from kube.errors import KubeError
from machine.cluster_state import FACTS, KUBECONFIG, RUN, is_being_removed
from machine.errors import LabError
from machine.files import write_json
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


def write_facts(wanted: Any, started: float, **own: Any) -> dict[str, Any]:
    """Note what was made of a cluster's specification, and return it. started: on the monotonic
    clock; own: facts of this kind of cluster."""
    folder = RUN / wanted.stack
    config = yaml.safe_load((folder / KUBECONFIG).read_text())
    facts = own | {
        "kubeconfig": str(folder / KUBECONFIG),
        "server": config["clusters"][0]["cluster"]["server"],
        "specification": asdict(wanted),
        # Distinguishes this cluster from earlier and later ones of the same name.
        "cluster_id": secrets.token_hex(4),
        "seconds": round(time.monotonic() - started, 1),
    }
    write_json(folder / FACTS, facts)
    return facts
