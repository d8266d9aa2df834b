"""What a fault is tried on: its clients, what they say, and what is published meanwhile."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from checks.pod_scenario import RETRIED, Parameters
from checks.release import LOOK_AGAIN
from checks.result import CheckFailed, CheckSkipped, require
from faults.model import Client, Fault, NeverSeen
from faults.objects import LABEL, PREFIX, Objects
from kube import devices
from kube.client import Kube
from kube.conditions import is_true
from kube.errors import KubeError
from kube.pods import describe

UP_LOG = Path(".state/fault-up.log")
AT_WORK = ("working", "holding")
FRESH_SECONDS = 2.0
"""A client that works said so within this time."""
START_SECONDS = 60.0
LOOK_SECONDS = 0.2
STEADY_SECONDS = 5.0
"""What goes on for so long after the injection was not harmed by it."""


class Scene(Objects):
    """Parameters: as of module 4's check. injected: when it was done, seconds since 1970; happened:
    the same of what a sight has just found, 0 where that is not known; noted: what an injection
    knows that sights ask for; before: how many devices were published then; fewest: at the least
    since; whole_since: when all were again; bringing_back: a command that does so."""

    def __init__(self, kube: Kube, parameters: Parameters, fault: Fault, stack: str) -> None:
        super().__init__(kube, parameters, fault)
        self.stack = stack
        self.plugin: str = parameters["plugin"]
        self.injected = self.happened = self.whole_since = 0.0
        self.noted: dict[str, Any] = {}
        self.fewest = self.before = 0
        self.bringing_back: subprocess.Popen[bytes] | None = None

    def start_clients(self) -> str:
        """Make all, and wait until every client works. Returns their names."""
        self.make()
        for name in self.fault.clients:
            self.until_so(partial(self.works, name))
        self.before = self.fewest = len(self.published())
        return ", ".join(self.fault.clients)

    def until_so(self, look: Callable[[], str]) -> str:
        """What it finds, as soon as it does; CheckFailed at the deadline."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return look()
            except CheckFailed:
                if time.monotonic() > deadline:
                    raise
            time.sleep(LOOK_SECONDS)

    def start_once(self, name: str, client: Client) -> None:
        """Make the pod unless that was done."""
        if name not in self.noted:
            self.start(name, client)
            self.noted[name] = time.time()

    # --- what is seen -----------------------------------------------------------------------------

    def since(self) -> float:
        """Seconds since the injection."""
        return time.time() - self.injected

    def find(self, namespace: str, prefix: str) -> Any:
        """The newest pod whose name begins so; CheckFailed if there is none."""
        listed = self.kube.get(self.kube.core.list_namespaced_pod, namespace=namespace).items
        found = [pod for pod in listed if pod.metadata.name.startswith(prefix)]
        going = [pod for pod in found if not pod.metadata.deletion_timestamp]
        if not going:
            raise CheckFailed(f"no pod {prefix}… in {namespace}")
        return max(going, key=lambda pod: str(pod.metadata.creation_timestamp))

    def client(self, name: str) -> Any:
        """The client's pod."""
        return self.kube.get(self.kube.core.read_namespaced_pod, PREFIX + name, self.namespace)

    def touch(self, name: str) -> None:
        """Annotate the client's pod, once, so that the kubelet looks at it."""
        if not self.noted.get(f"touched {name}"):
            patch = {"metadata": {"annotations": {LOOK_AGAIN: "true"}}}
            change = self.kube.core.patch_namespaced_pod
            self.kube.get(change, PREFIX + name, self.namespace, patch)
            self.noted[f"touched {name}"] = True

    def events(self, name: str) -> list[dict[str, Any]]:
        """What the client says: the lines of JSON in its log, [] where that cannot be read."""
        try:
            log = self.kube.log(self.namespace, PREFIX + name)
        except KubeError:
            return []
        found = []
        for line in log.splitlines():
            with suppress(ValueError):
                if isinstance(said := json.loads(line), dict):
                    found.append(said)
        return found

    def last(self, name: str, *kinds: str) -> dict[str, Any]:
        """The last event of these kinds, {} without one."""
        said = [each for each in self.events(name) if each["event"] in kinds]
        return said[-1] if said else {}

    def works(self, name: str) -> str:
        """That the client has just said that it works."""
        last = self.last(name, *AT_WORK, "error")
        if last.get("event") == "error":
            raise CheckFailed(f"{name}: {last['error']}")
        if not last or last["at"] < max(self.injected, time.time() - FRESH_SECONDS):
            raise CheckFailed(f"{name}: {self.describe(name)}")
        return name

    def go_on(self, *names: str) -> str:
        """That the clients work, and were never restarted."""
        for name in names:
            self.works(name)
            restarts = sum(each.restart_count for each in self._statuses(name))
            require(not restarts, f"{name} was restarted {restarts} times")
        return f"{', '.join(names)}: at work, never restarted"

    def go_on_without_silicon(self, *names: str) -> str:
        if self.devices == devices.GPU:
            raise CheckSkipped("clients that compute end, as seen above")
        return self.go_on(*names)

    def restarted(self, name: str) -> str:
        restarts = sum(each.restart_count for each in self._statuses(name))
        require(bool(restarts), f"{name} was not restarted: {self.describe(name)}")
        self.works(name)
        return f"{name}: restarted {restarts} times, at work{self.as_client(name)}"

    def ended(self, name: str, error: str) -> str:
        """How the client ended: its exit code and its error. NeverSeen if it is another one."""
        state = self.end_of(name)
        if state is None:
            raise CheckFailed(f"{name}: {self.describe(name)}")
        said = self.last(name, "error")
        self.happened = said.get("at", 0.0)
        text = f"{name}: exit code {state.exit_code}, {said.get('error') or state.reason}"
        if error not in said.get("error", ""):
            raise NeverSeen(text)
        return text

    def end_of(self, name: str) -> Any:
        """The state of its container that ended, also one before it was restarted."""
        for each in self._statuses(name):
            state = each.state.terminated or (each.last_state and each.last_state.terminated)
            if state:
                return state
        return None

    def as_client(self, name: str) -> str:
        """Whether CUDA says that it is a client of MPS, for a person."""
        match self.last(name, "ready").get("mps"):
            case True:
                return ", as a client of MPS"
            case False:
                return ", without MPS"
        return ""

    def describe(self, name: str) -> str:
        """Where its pod stands."""
        try:
            pod = self.client(name)
        except (CheckFailed, KubeError) as error:
            return str(error)
        return describe(pod)

    def warnings(self, name: str) -> list[str]:
        """Messages of the kubelet about a claim of the client's that it could not prepare."""
        uid = self.client(name).metadata.uid
        listed = self.kube.get(
            self.kube.core.list_namespaced_event,
            namespace=self.namespace,
            field_selector=f"reason={RETRIED}",
        ).items
        return [str(each.message) for each in listed if each.involved_object.uid == uid]

    def is_ready(self, pod: Any) -> bool:
        return is_true(pod, "Ready")

    def count_devices(self) -> None:
        """Note how many devices are published now; nothing while the API server is away."""
        with suppress(KubeError):
            number = len(self.published())
            self.fewest = min(self.fewest, number)
            if number < self.before:
                self.whole_since = 0.0
            elif not self.whole_since:
                self.whole_since = time.time()

    def need_second_gpu(self) -> None:
        if self.before < 2:
            raise CheckSkipped(f"needs a second GPU: {devices.counted(self.before, 'GPU')} here")

    def clients_seen(self) -> Mapping[str, Any]:
        """What a user sees of each pod of the fault: its phase, exit code and last line."""
        with suppress(KubeError):
            selection = {"namespace": self.namespace, "label_selector": LABEL}
            pods = self.kube.get(self.kube.core.list_namespaced_pod, **selection).items
            return {pod.metadata.name: self._seen(pod) for pod in pods}
        return {}

    def _seen(self, pod: Any) -> dict[str, Any]:
        name = pod.metadata.name.removeprefix(PREFIX)
        state, said = self.end_of(name), self.events(name)
        return {
            "stands": describe(pod),
            "exit_code": state.exit_code if state else None,
            "restarts": sum(each.restart_count for each in pod.status.container_statuses or []),
            "last": said[-1] if said else None,
            "warnings": self.warnings(name),
        }

    def _statuses(self, name: str) -> list[Any]:
        return list(self.client(name).status.container_statuses or [])

    # --- bringing it back -------------------------------------------------------------------------

    def bring_back(self) -> None:
        """Run `make up`, as a person would, while sights are looked for."""
        command = [sys.executable, "-m", "operations", "up", "--stack", self.stack]
        with UP_LOG.open("wb") as log:
            self.bringing_back = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def is_back(self) -> str:
        """That `make up` has ended well. Its checks need the GPU, so the clients end first."""
        self.end_clients()
        running = self.bringing_back
        if running is None or running.poll() is None:
            raise CheckFailed("make up has not ended")
        if running.returncode:
            raise NeverSeen(f"it ended with {running.returncode}; its output is in {UP_LOG}")
        return "it ended with 0"

    def finish(self) -> None:
        """Wait for a command that still brings the lab back."""
        if self.bringing_back is not None:
            self.bringing_back.wait()
