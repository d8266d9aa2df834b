"""The ways to share a GPU that are compared, as data, and how much each sweep measures of them."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kube.devices import gpu_config

PIPE_VARIABLE, PIPE_VOLUME = "CUDA_MPS_PIPE_DIRECTORY", "mps-pipe"
AS_CONFIGURED, BY_DAEMONSET, WITH_SHARES = "configured", "daemonset", "shares"
Parameters = Mapping[str, Any]
Manifest = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """clients: how many share the GPU, one cell for each; repeats, seconds, warm_up: of each
    workload in a cell."""

    clients: tuple[int, ...]
    repeats: int
    seconds: float = 1.0
    warm_up: float = 1.0

    @property
    def options(self) -> list[str]:
        """Of the program that measures."""
        given = {"repeats": self.repeats, "seconds": self.seconds, "warm-up": self.warm_up}
        return [word for key, value in given.items() for word in (f"--{key}", f"{value:g}")]


SWEEPS = {
    "quick": Sweep(clients=(1, 2, 4), repeats=3),
    "full": Sweep(clients=(1, 2, 3, 4), repeats=5),
}


@dataclass(frozen=True, kw_only=True)
class Way:
    """sharing: in the opaque configuration of the claim, {} for an ordinary claim; own_claims:
    whether each client has a claim of its own, rather than one for all; least, most: clients with
    which it is measured; mps: whether its clients are MPS clients; part: of the comparison, by how
    the driver runs for it; sweeps: those that it belongs to; missing: what it needs and this lab
    has not, "" for nothing; fit_pod: what its pods need beside the claim."""

    name: str
    title: str
    sharing: Mapping[str, Any]
    own_claims: bool = False
    part: str = AS_CONFIGURED
    least: int = 1
    most: int = 4
    mps: bool = False
    sweeps: tuple[str, ...] = tuple(SWEEPS)
    missing: Callable[[Parameters], str] = lambda _: ""
    fit_pod: Callable[[Manifest, Parameters], None] = lambda _pod, _parameters: None

    def skipped(self, parameters: Parameters) -> str:
        """Why it is not measured in this lab, "" if it is."""
        if parameters["sweep"] not in self.sweeps:
            return f"only with sweep={' or sweep='.join(self.sweeps)}"
        return self.missing(parameters)

    def clients(self, sweep: Sweep) -> list[int]:
        return [number for number in sweep.clients if self.least <= number <= self.most]

    def claim(self, model: Manifest) -> Manifest:
        """The claim by which a GPU is shared this way."""
        made = copy.deepcopy(model)
        if self.sharing:
            requests = [each["name"] for each in made["spec"]["devices"]["requests"]]
            made["spec"]["devices"]["config"] = [gpu_config(self.sharing, requests)]
        return made

    def pod(self, model: Manifest, parameters: Parameters) -> Manifest:
        """A client's pod."""
        made = copy.deepcopy(model)
        self.fit_pod(made, parameters)
        return made


def needs_shares(parameters: Parameters) -> str:
    """The gates TimeSlicingSettings and ConsumableShares are not on beside MPS."""
    if parameters["withShares"]:
        return ""
    return "needs a driver of the lab's own, 0.5.0 or later, and Kubernetes 1.36 or later"


def time_slices(interval: str) -> Way:
    """By the GPU's own scheduler, with slices of that length."""
    return Way(
        name=f"time-{interval.lower()}",
        title=f"time slices, interval {interval}",
        sharing={"strategy": "TimeSlicing", "timeSlicingConfig": {"interval": interval}},
        part=WITH_SHARES,
        least=2,
        sweeps=("full",),
        missing=needs_shares,
    )


def add_pipe_directory(pod: Manifest, parameters: Parameters) -> None:
    """Have the pod find the daemon of the DaemonSet."""
    daemon = parameters["mpsDaemonset"]
    volume = {"persistentVolumeClaim": {"claimName": daemon["volumeClaim"]}, "name": PIPE_VOLUME}
    pod["spec"].setdefault("volumes", []).append(volume)
    for container in pod["spec"]["containers"]:
        variable = {"name": PIPE_VARIABLE, "value": daemon["pipeDirectory"]}
        container.setdefault("env", []).append(variable)
        mount = {"name": PIPE_VOLUME, "mountPath": daemon["pipeDirectory"], "readOnly": True}
        container.setdefault("volumeMounts", []).append(mount)


EXCLUSIVE = "exclusive"
"""The baseline: alone on the GPU, and so one after the other."""
WAYS = (
    Way(name=EXCLUSIVE, title="one client, alone on the GPU", sharing={}, most=1),
    # Without a configuration the GPU's scheduler divides the time; alone it is exclusive.
    Way(name="time-sliced", title="time slices, as the driver leaves them", sharing={}, least=2),
    *map(time_slices, ("Default", "Short", "Medium", "Long")),
    Way(
        name="mps-driver",
        title="MPS, by the daemon that the driver runs for a claim",
        sharing={"strategy": "MPS"},
        mps=True,
    ),
    Way(
        name="mps-daemonset",
        title="MPS, by a daemon that a DaemonSet runs",
        sharing={},
        part=BY_DAEMONSET,
        mps=True,
        missing=lambda given: "" if given["mpsDaemonset"] else "needs mps=daemonset or mps=both",
        fit_pod=add_pipe_directory,
    ),
    Way(
        name="shares",
        title="consumable shares: a claim for each client, time-sliced",
        sharing={},
        own_claims=True,
        part=WITH_SHARES,
        least=2,
        missing=needs_shares,
    ),
)
