"""Pods and claims in one namespace that a check looks at, and releases when it has seen enough.

What a pod found out is read from its log: its program prints a line of JSON.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from checks import gpu_holders
from checks.gpu_holders import ENDED
from checks.release import LOOK_AGAIN, LOOK_AGAIN_SECONDS, RELEASE, START, release_pods
from checks.result import CheckFailed, require
from checks.steps import Scenario, Step, verify
from kube import devices
from kube.client import Kube
from kube.conditions import condition
from kube.permissions import DRA, on
from kube.pods import describe, image_remedy

RETRIED = "FailedPrepareDynamicResources"
"""The kubelet's event for a claim whose preparation failed and is tried again."""
SECONDS = 60.0
LOOK_SECONDS = 0.5
TELLS = 5
"""How often annotations change until a pod has seen it. After a restart of its node a kubelet
showed a change only when it next looked at the pod by itself, more than a minute later; the change
after it, at once."""
WAITING = "waiting for dra-workshop/start"
"""Ends the log of a program that has not seen when to start (workloads/gpu_benchmark.py)."""
TAKEN = "cannot allocate all claims"
"""How the scheduler's DRA plugin says that no free device fits a claim."""
PERMISSIONS = (
    *on("pods", "list", "watch", "patch"),
    *on("pods/log", "get", real=True),
    *on("resourceclaims", "list", "watch", group=DRA),
    *on("events", "list", real=True),
)
"""In the namespace."""
Parameters = Mapping[str, Any]
Output = dict[str, Any]
"""What a pod's program printed."""


class PodScenario(Scenario):
    """Parameters: namespace, uuid (of the GPU that all claims here name), driver (that published
    it, NVIDIA's if not given), devices (what they are). pods: all names.
    """

    pods: tuple[str, ...] = ()

    def __init__(self, kube: Kube, parameters: Parameters) -> None:
        self.kube, self.parameters = kube, parameters
        self.namespace: str = parameters["namespace"]
        self.uuid: str = parameters["uuid"]
        self.driver: str = parameters.get("driver", devices.DRIVER)
        self.devices = parameters["devices"]
        look = f"make kubectl ARGS='describe pods,resourceclaims -n {self.namespace}'"
        self.remedy = f"look at it with: {look}"

    # --- pods -------------------------------------------------------------------------------------

    def running(self, *names: str) -> str:
        """Where the pods run; CheckFailed with the first that does not."""
        found: list[str] = []
        for name in names:
            pod = self.wait_for_pod(name, lambda pod: pod.status.phase in ("Running", *ENDED))
            if pod is None or pod.status.phase != "Running":
                why = describe(pod)
                if TAKEN in why and (
                    held := gpu_holders.held_by(self.kube, self.driver, self.uuid)
                ):
                    why += f"; it waits for {held}"
                raise CheckFailed(f"{name}: {why}" if found else why, remedy=image_remedy(pod))
            found.append(describe(pod))
        return ", ".join(dict.fromkeys(found))

    def wait_for_pod(
        self, name: str, until: Callable[[Any], bool], seconds: float = SECONDS
    ) -> Any:
        return self.kube.wait_for_pod(self.namespace, name, until, seconds)

    def refused(self, name: str) -> str:
        """That no node can have the pod because the device of its claim is taken."""

        def decided(pod: Any) -> bool:
            scheduled = condition(pod, "PodScheduled")
            return bool(scheduled) and (
                scheduled.status == "True" or scheduled.reason == "Unschedulable"
            )

        pod = self.wait_for_pod(name, decided)
        found: Any = condition(pod, "PodScheduled") if pod else None
        waits = found and found.reason == "Unschedulable" and TAKEN in (found.message or "")
        return require(bool(waits), describe(pod))

    def tell(
        self, annotations: Mapping[str, Mapping[str, str]], seen: Callable[[str, float], bool]
    ) -> None:
        """Annotate each pod, again where it does not see it in time. seen: whether the pod of that
        name has, within so many seconds."""
        waiting = dict(annotations)
        for attempt in range(TELLS):
            for name, wanted in waiting.items():
                more = {LOOK_AGAIN: str(attempt)} if attempt else {}
                patch = {"metadata": {"annotations": {**wanted, **more}}}
                self.kube.get(self.kube.core.patch_namespaced_pod, name, self.namespace, patch)
            deadline = time.monotonic() + LOOK_AGAIN_SECONDS
            for name in list(waiting):
                if seen(name, max(deadline - time.monotonic(), 0.0)):
                    del waiting[name]
            if not waiting:
                return

    def start_in(self, ahead: Mapping[str, float]) -> None:
        """Have each pod begin so many seconds from now."""
        now = time.time()
        self.tell(
            {name: {START: f"{now + after:.3f}"} for name, after in ahead.items()}, self.knows_start
        )

    def knows_start(self, name: str, seconds: float) -> bool:
        """Whether the pod knows within that time when to start."""
        deadline = time.monotonic() + seconds
        while True:
            *_, last = ["", *self.kube.log(self.namespace, name).strip().splitlines()]
            if last and WAITING not in last:
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOOK_SECONDS)

    def release(self, *names: str) -> str:
        """Release the pods and wait until they have ended well."""

        def has_ended(name: str, seconds: float) -> bool:
            pod = self.wait_for_pod(name, lambda pod: pod.status.phase in ENDED, seconds)
            return pod is None or pod.status.phase in ENDED

        self.tell({name: {RELEASE: "true"} for name in names}, has_ended)
        for name in names:
            pod = self.wait_for_pod(name, lambda pod: pod.status.phase in ENDED)
            if pod is None or pod.status.phase != "Succeeded":
                raise CheckFailed(describe(pod))
        return "Succeeded"

    def end(self, *names: str) -> str:
        """Have the pods end whatever they wait for, and wait until they have ended well."""
        release_pods(self.kube, self.namespace, names)
        return self.release(*names)

    def release_pods(self) -> None:
        """Have all pods end, whatever they are at: those that come after must get the GPU."""
        release_pods(self.kube, self.namespace, self.pods)

    # --- claims -----------------------------------------------------------------------------------

    def claim(self, name: str, until: Callable[[Any], bool], namespace: str = "") -> Any:
        """The claim when `until` holds of it, or as it is at the deadline. namespace: "" for the
        pods' own."""
        namespace = namespace or self.namespace
        found = self.kube.wait(
            self.kube.resource.list_namespaced_resource_claim,
            lambda claims: any(until(claim) for claim in claims),
            SECONDS,
            what=f"claim {namespace}/{name}",
            namespace=namespace,
            field_selector=f"metadata.name={name}",
        )
        if not found:
            raise CheckFailed("no such claim")
        return found[0]

    def allocated(self, name: str, namespace: str = "") -> str:
        """That the claim has the GPU that it names."""
        claim = self.claim(name, has_device, namespace)
        device = devices.allocated(claim, self.published())
        return require(device.uuid == self.uuid, device.uuid)

    def published(self) -> list[devices.Device]:
        return devices.read_published(self.kube, self.driver)

    def reserved(self, name: str, pods: Iterable[str]) -> str:
        """That the claim is reserved for these pods and no others."""
        expected = sorted(pods)

        def users(claim: Any) -> list[str]:
            reserved = claim.status.reserved_for if claim.status else None
            return sorted(f"{user.resource}/{user.name}" for user in reserved or [])

        def as_expected(claim: Any) -> bool:
            return users(claim) == [f"pods/{pod}" for pod in expected]

        claim = self.claim(name, as_expected)
        if not as_expected(claim):
            raise CheckFailed(", ".join(users(claim)) or "nobody")
        return ", ".join(expected)

    def unallocated(self, *names: str) -> str:
        for name in names:
            claim = self.claim(name, lambda claim: not has_device(claim))
            if has_device(claim):
                results = claim.status.allocation.devices.results
                found = ", ".join(f"{each.pool}/{each.device}" for each in results)
                raise CheckFailed(f"allocated: {found}")
        return "pending"

    def freed(self, pods: Iterable[str], *claims: str) -> str:
        """That the claims hold nothing once these pods have ended."""
        self.end(*pods)
        return self.unallocated(*claims)

    # --- what pods print --------------------------------------------------------------------------

    def output(self, name: str) -> Output:
        """The JSON that the pod's program printed. CheckFailed if it does not come in time."""
        deadline = time.monotonic() + SECONDS
        while True:
            log = self.kube.log(self.namespace, name)
            if (found := last_json(log)) is not None:
                return found
            if time.monotonic() >= deadline:
                *_, last = ["", *log.strip().splitlines()]
                raise CheckFailed(f"{name} printed no JSON; its last line: {last}")
            time.sleep(LOOK_SECONDS)

    def starts(self, outputs: Mapping[str, Output]) -> dict[str, Any]:
        """How long pods took from being scheduled to running their program, and what had to be
        repeated: a table with rows of pod, seconds, prepare_retries.

        The scheduler's event has microseconds, the program prints when it began; the API's own
        times are whole seconds. Both clocks must agree, as they do where scheduler and node are one
        machine.
        """
        scheduled: dict[str, float] = {}
        for event in self._events("Scheduled"):
            if moment := event.event_time or event.last_timestamp:
                name = event.involved_object.name
                scheduled[name] = max(moment.timestamp(), scheduled.get(name, 0.0))
        retries: Counter[str] = Counter()
        for event in self._events(RETRIED):
            times = event.series.count if event.series else event.count or 1
            retries[event.involved_object.name] += times
        rows = []
        for name, output in outputs.items():
            known = name in scheduled
            seconds = round(output["began"] - scheduled[name], 3) if known else None
            rows.append({"pod": name, "seconds": seconds, "prepare_retries": retries[name]})
        return {"unit": "s", "measured": "from scheduled to the program's first line", "rows": rows}

    def _events(self, reason: str) -> list[Any]:
        """Of pods that exist now: a run before this one had pods of the same names."""
        core, namespace = self.kube.core, self.namespace
        pods = self.kube.get(core.list_namespaced_pod, namespace=namespace).items
        present = {pod.metadata.uid for pod in pods}
        selector = f"reason={reason}"
        events = self.kube.get(
            core.list_namespaced_event, namespace=namespace, field_selector=selector
        ).items
        return [event for event in events if event.involved_object.uid in present]


def has_device(claim: Any) -> bool:
    return bool(claim.status and claim.status.allocation)


def last_json(log: str) -> Output | None:
    """The last line that is a JSON object; what else a log holds is for people."""
    for line in reversed(log.splitlines()):
        with suppress(ValueError):
            if isinstance(found := json.loads(line), dict):
                return found
    return None


P = TypeVar("P", bound=PodScenario)


def measured(scenario: P, table: Callable[[P], dict[str, Any]]) -> dict[str, Any]:
    """The table, or why there is none: figures are of GPUs only."""
    if scenario.devices != devices.GPU:
        return {"skipped": devices.too_unreal(scenario.devices)}
    return table(scenario)


@dataclass(frozen=True, kw_only=True)
class PodCheck(Generic[P]):
    """A check of pods. benchmarks: name → its table, of which an empty one is left out."""

    scenario: Callable[[Kube, Parameters], P]
    steps: tuple[Step[P], ...]
    benchmarks: Mapping[str, Callable[[P], dict[str, Any]]]

    def run(self, module: str, parameters: Parameters) -> dict[str, Any]:
        """What the check found. Its pods end even where it breaks off with an unexpected error:
        others wait for their GPU."""
        scenario = self.open(parameters)
        try:
            checklist = verify(module, self.steps, scenario)
            for name, table in self.benchmarks.items():
                if found := measured(scenario, table):
                    checklist.benchmarks[name] = found
            return checklist.to_json()
        finally:
            scenario.release_pods()

    def release_pods(self, parameters: Parameters) -> None:
        """Have the pods of a check that is not run end: none of them may keep the GPU."""
        self.open(parameters).release_pods()

    def open(self, parameters: Parameters) -> P:
        return self.scenario(Kube(parameters["kubeconfig"]), parameters)
