"""What a module is, which there are, and which need which.

Each module is an object in a file of its own in this folder; nothing else lists them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from components.check import Check
    from components.lab_context import LabContext

Requirement = Literal["driver", "gpu", "mps", "two-gpus"]


@dataclass(frozen=True, kw_only=True)
class Module:
    """One chapter of the workshop.

    needs: ids of the modules that must have passed before it is verified.
    requires: driver: a DRA driver publishes devices; mps: NVIDIA's, which shares a GPU; gpu,
    two-gpus: it shows nothing without.
    checks: programs that verify it on any cluster (machine/programs.py).
    namespaces: those that it makes, whose pods claim the GPU.
    settings: the keys that only this module reads.
    shows, with_gpu, seconds: for people choosing a stack (`make list`): what it is about, what a
    GPU adds, and how long its stack takes from nothing on the embedded cluster on two cores.
    build: makes its resources and returns its checks.
    """

    id: str
    stack: str
    title: str
    build: "Callable[[LabContext], list[Check]]"
    needs: tuple[str, ...] = ()
    requires: frozenset[Requirement] = frozenset()
    checks: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    shows: str
    with_gpu: str = ""
    seconds: int

    @property
    def uses_gpu(self) -> bool:
        """Whether its pods claim the GPU."""
        return bool(self.namespaces)

    @property
    def wants(self) -> str:
        """What a person has to have for it."""
        if self.requires & {"gpu", "two-gpus"}:
            return "two GPUs" if "two-gpus" in self.requires else "a GPU"
        return f"nothing; a GPU {self.with_gpu}" if self.with_gpu else "nothing"


@cache
def modules() -> dict[str, Module]:
    """Every module by its id, in the order of the workshop."""
    here = Path(__file__)
    names = [file.stem for file in here.parent.glob("[!_]*.py") if file != here]
    found: list[Module] = [import_module(f"{__package__}.{name}").MODULE for name in names]
    return {module.id: module for module in sorted(found, key=_place)}


def _place(module: Module) -> tuple[float, str]:
    """Numbered ones first, 6.5 between 6 and 7."""
    is_number = module.id.replace(".", "").isdigit()
    return (float(module.id) if is_number else float("inf"), module.id)


def closure(wanted: Iterable[str]) -> list[Module]:
    """The modules that are wanted and all that they need, each after what it needs.

    Raises KeyError for an id that does not exist.
    """
    known = modules()
    found: dict[str, Module] = {}

    def add(module: Module) -> None:
        for need in module.needs:
            add(known[need])
        found[module.id] = module

    for module in sorted((known[identity] for identity in wanted), key=_place):
        add(module)
    return list(found.values())
