"""What a fault is made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from checks.result import CheckFailed
from kube.devices import MOCKED

if TYPE_CHECKING:
    from faults.scene import Scene


class NeverSeen(CheckFailed):
    """It was not so, and nothing can change that any more."""


Kind = Literal["effect", "recovery", "unharmed"]
"""What a user notices; what brings it back; what must go on all the time."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of a fault. sharing: as in GpuConfig, None for a claim without one; other: for a GPU
    other than that of the lab's claims."""

    sharing: Mapping[str, Any] | None = None
    other: bool = False


@dataclass(frozen=True, kw_only=True)
class Client:
    """A pod that uses the GPU of a claim. arguments: of workloads/fault_client.py; restart: its
    restartPolicy; model: the pod of the module's whose specification it has but for that."""

    claim: str = "gpu"
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None
    restart: str = "Never"
    model: str = "own"


@dataclass(frozen=True, kw_only=True)
class Sight:
    """Something that is to be seen after the injection.

    look: returns what it found, raises CheckFailed as long as it is not so, NeverSeen if it will
    not be so, CheckSkipped where it cannot be told. within: seconds since the injection; needs: id
    of the sight without which this one has no meaning; after: of one that is decided first,
    whatever is found. What is unharmed is looked at once, after all others.
    """

    id: str
    title: str
    look: "Callable[[Scene], str]"
    expected: str
    kind: Kind = "recovery"
    within: float = 60.0
    needs: str = ""
    after: str = ""
    least: str = MOCKED


@dataclass(frozen=True, kw_only=True)
class Fault:
    """breaks: what is done, for a person; claims, clients: by name, made before it; inject: does
    it, and returns what was done; prepare, restore: done before all that and after; least: how real
    the GPUs must be; gpus: how many it takes; host: whether it is done to this machine as a
    node."""

    name: str
    breaks: str
    claims: Mapping[str, Claim]
    clients: Mapping[str, Client]
    inject: "Callable[[Scene], str]"
    sights: tuple[Sight, ...]
    prepare: "Callable[[Scene], object]" = lambda _: None
    restore: "Callable[[Scene], object]" = lambda _: None
    least: str = MOCKED
    gpus: int = 1
    host: bool = False

    @property
    def needs(self) -> str:
        """For a person."""
        gpus = "real or mocked GPUs" if self.least == MOCKED else "real GPUs"
        number = f"{self.gpus} " if self.gpus > 1 else ""
        return f"{number}{gpus}{', node=host' if self.host else ''}"
