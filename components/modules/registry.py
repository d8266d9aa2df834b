"""What modules there are and which need which; data only, so that anyone may read it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import TopologicalSorter


@dataclass(frozen=True)
class Module:
    """One chapter of the workshop.

    needs: ids of the modules that must have passed before it is verified.
    shows, requires, takes: for people choosing a stack (`make list`); takes is in seconds, for
    its stack from nothing on the embedded cluster, measured on two cores.
    """

    id: str
    title: str
    needs: tuple[str, ...]
    shows: str
    requires: str
    takes: int

    @property
    def stack(self) -> str:
        return "module" + self.id.replace(".", "-")

    @property
    def uses_gpu(self) -> bool:
        """Whether the module makes a namespace with pods that claim the GPU."""
        return any(need in ("2", "4") for need in self.needs)

    @property
    def namespace(self) -> str:
        """Of its pods, where it has some."""
        return f"dra-{self.stack}"


MODULES: dict[str, Module] = {
    module.id: module
    for module in (
        Module(
            "0",
            "Prerequisites",
            (),
            "what this machine has, what is missing, and how to fix it",
            "nothing",
            2,
        ),
        Module(
            "1",
            "Cluster",
            ("0",),
            "a Kubernetes that serves resource.k8s.io/v1, its nodes ready",
            "nothing",
            7,
        ),
        Module(
            "2",
            "DRA driver",
            ("1",),
            "NVIDIA's chart, its device classes, every GPU in a ResourceSlice",
            "nothing",
            10,
        ),
        Module(
            "3",
            "Exclusive claims",
            ("2",),
            "two claims for one GPU: the second waits until the first lets go",
            "nothing",
            11,
        ),
        Module(
            "4",
            "MPS sharing",
            ("2",),
            "two pods, one claim: both on one GPU through MPS; a third waits for it",
            "nothing; a GPU to see MPS at work",
            12,
        ),
        Module(
            "5",
            "MPS limits",
            ("4",),
            "thread percentages and a memory limit, measured, and whether they hold",
            "nothing; a GPU to measure",
            23,
        ),
    )
}


def closure(wanted: Iterable[str]) -> list[Module]:
    """The modules that are wanted and all that they need, each after what it needs.

    Raises KeyError for an id that does not exist.
    """
    graph: dict[str, tuple[str, ...]] = {}
    queue = list(wanted)
    while queue:
        identity = queue.pop()
        if identity not in graph:
            graph[identity] = MODULES[identity].needs
            queue.extend(graph[identity])
    order = list(MODULES)
    sorter = TopologicalSorter({key: graph[key] for key in sorted(graph, key=order.index)})
    return [MODULES[identity] for identity in sorter.static_order()]
