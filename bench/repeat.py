"""One repeat: every part of the comparison, on one cluster (the method: bench/__init__.py)."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import kubectl, profile
from bench.calls import BENCH, Audit, Calls, parse_metrics
from bench.kubectl import KUBECONFIG, STACK, Kubectl, Layers
from bench.profile import Event, Span, run_pulumi
from components.drivers import DRIVERS
from kube.client import Kube
from machine.programs import PYTHON
from machine.run import run_program
from tests.checkout import Checkout

DRIVER = DRIVERS["nvidia"].name
AUDIT_LOG = Path(".run") / STACK / "kwok" / "clusters" / STACK / "logs" / "audit.log"
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
"""
IDLE_SECONDS = 10.0
LAYERS = ("module", "driver", "chart", "nodes")
"""In the order of deleting. The first two are what Pulumi deletes without modules 2 and 3."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """What one part cost.

    seconds: from its start to its end; calls: the difference of the API server's counter and
    counted_seconds the time between its two readings, both 0 where it cannot be read at both
    ends; clients: who asked for what; spans: of an update, each resource.
    """

    seconds: float
    calls: Calls
    counted_seconds: float
    clients: dict[str, Calls]
    spans: list[Span] = field(default_factory=list)


@dataclass(frozen=True)
class Repeat:
    """parts: name → cost; idle: calls a second of the cluster when nobody asks for anything;
    needs: URN → URNs of what must be done before; outputs: of the stack; load: average of the
    minute before the repeat."""

    parts: dict[str, Part]
    idle: float
    needs: Mapping[str, set[str]]
    outputs: Mapping[str, Any]
    load: float


class Meter:
    """Reads the counter and the audit log of the stack's cluster around each part."""

    def __init__(self, folder: Path, say: Say) -> None:
        self.folder, self.say = folder, say
        self.parts: dict[str, Part] = {}
        self._kube: Kube | None = None
        self._audit: Audit | None = None
        self._counter, self._second = Calls(), 0.0

    def attach(self) -> None:
        """As soon as there is a cluster."""
        self._audit = Audit(self.folder / AUDIT_LOG)
        self._kube = Kube(str(self.folder / KUBECONFIG))
        self._kube.api.user_agent = BENCH
        self._read_counter()

    def detach(self) -> None:
        """There is no cluster any more, or nobody wants to know."""
        if self._audit is not None:
            self._audit.close()
        self._kube = self._audit = None

    def measure(self, name: str, run: Callable[[], list[Span] | None], ends: bool = False) -> Part:
        """Run it and keep its costs under the name; `ends`: with it the cluster ends."""
        self._read_counter()
        self._read_clients()
        started = time.monotonic()
        spans = run() or []
        seconds = time.monotonic() - started
        calls, counted_seconds = (Calls(), 0.0) if ends else self._read_counter()
        part = Part(seconds, calls, counted_seconds, self._read_clients(), spans)
        self.parts[name] = part
        self.say(f"{name}: {seconds:.1f} s")
        return part

    def _read_counter(self) -> tuple[Calls, float]:
        if self._kube is None:
            return Calls(), 0.0
        before, since = self._counter, self._second
        self._counter, self._second = parse_metrics(self._kube.text("/metrics")), time.monotonic()
        return self._counter - before, self._second - since

    def _read_clients(self) -> dict[str, Calls]:
        return self._audit.read() if self._audit is not None else {}


def run(checkout: Checkout, number: int, say: Say) -> Repeat:
    """All parts, from no cluster to no cluster. Raises LabError."""
    load = os.getloadavg()[0]
    policy = checkout.folder / "audit-policy.yaml"
    policy.write_text(AUDIT_POLICY)
    os.environ["KWOK_KUBE_AUDIT_POLICY"] = str(policy)
    meter = Meter(checkout.folder, say)
    measure = meter.measure
    checkout.configure(STACK, "modules[0]", "3")
    measure("up", lambda: up_from_nothing(checkout, meter))
    measure("up again", lambda: run_pulumi(checkout, "up", STACK))
    idle = measure("idle", lambda: time.sleep(IDLE_SECONDS))
    state = json.loads(checkout.pulumi("stack", "export", "--stack", STACK).text)
    outputs = checkout.outputs(STACK)
    ctl = Kubectl(checkout, checkout.folder / f"objects-{number}", "cache-of-rest")
    layers = read_layers(state, ctl)
    for name, made in layers.items():
        ctl.write(name, made)
        ctl.write(f"{name}-delete", reversed(made))
    checkout.configure(STACK, "modules[0]", "1")
    measure("remove", lambda: run_pulumi(checkout, "up", STACK))
    ctl.delete(*LAYERS)
    cold = replace(ctl, cache="cache-warm-cluster")
    measure("apply", lambda: cold.apply(layers))
    measure("apply again", lambda: cold.apply(layers))
    measure("delete modules", lambda: cold.delete(*LAYERS[:2]))
    measure("delete the rest", lambda: cold.delete(*LAYERS[2:]))
    measure("destroy", lambda: run_pulumi(checkout, "destroy", STACK), ends=True)
    meter.detach()
    new = replace(ctl, cache="cache-new-cluster")
    with new_cluster(checkout, outputs["cluster"]["specification"], meter):
        measure("apply on a new cluster", lambda: new.apply(layers))
    rate = idle.calls.total() / idle.counted_seconds
    return Repeat(meter.parts, rate, profile.read_needs(state), outputs, load)


def up_from_nothing(checkout: Checkout, meter: Meter) -> list[Span]:
    """`up`; the counter is first read when the cluster has been made."""
    begin = threading.Thread(target=meter.attach)

    def watch(event: Event) -> None:
        metadata = event.get("resOutputsEvent", {}).get("metadata", {})
        if metadata.get("urn", "").endswith(f"{profile.COMMAND}::cluster-running"):
            begin.start()  # beside the update, which must not wait for it

    spans = run_pulumi(checkout, "up", STACK, watch)
    begin.join()
    return spans


@contextmanager
def new_cluster(checkout: Checkout, specification: object, meter: Meter) -> Iterator[None]:
    """A cluster made by the program that the graph runs too."""

    def operate(*arguments: str, given: str = "") -> None:
        command = (PYTHON, "-m", "operations", "cluster", *arguments)
        environment = checkout.environment()
        run_program(command, cwd=checkout.folder, env=environment, input=given)

    meter.measure("cluster", lambda: operate("create", given=json.dumps(specification)))
    meter.attach()
    yield
    meter.detach()
    operate("down", "--stack", STACK)


def read_layers(state: Mapping[str, Any], ctl: Kubectl) -> Layers:
    release = f"secret/sh.helm.release.v1.{DRIVER}.v1"
    secret = json.loads(ctl("get", release, "--namespace", DRIVER, "--output=json"))
    return kubectl.split_layers(kubectl.from_state(state), kubectl.from_release(secret), DRIVER)
