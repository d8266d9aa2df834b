"""Module 4, the other way: two pods with an ordinary claim share a GPU through an MPS daemon that
the lab runs as a DaemonSet; one of another user does not get in.

Parameters: kubeconfig, namespace, daemonNamespace and daemonSet, driverNamespace and plugin (of the
driver, which runs no daemon here), uuid (the GPU), pods (the clients), otherUser (the pod that is
not the daemon's user), threads (client → percentage), granted (client → sizes in MiB that it must
get, all others being refused), memoryMib (of every client, 0: no limit), clusterOwned, devices.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from checks import clients, pod_scenario, release
from checks.clients import GRANULARITY, LATE, LEAST_IN_COMMON, PIPE
from checks.mps_daemon import EXCLUSIVE_MODE, IN_DRIVER
from checks.pod_scenario import Output, Parameters, PodCheck, has_device
from checks.result import CheckFailed, require
from checks.steps import REAL_NODES, Step
from kube.client import Kube
from kube.devices import GPU, MOCKED, allocation_results
from kube.permissions import on
from machine.errors import LabError
from machine.gpu_host import DEFAULT_MODE

__all__ = ["CHECK", "IN_DRIVER", "PERMISSIONS", "run"]

PERMISSIONS = (*pod_scenario.PERMISSIONS, *on("pods", "get"))
IN_DAEMON = (
    *on("pods", "list", "patch"),
    *on("pods/log", "get", real=True),
    *on("resourceclaims", "list", "watch", group="resource.k8s.io"),
)
"""In the daemon's namespace."""
CLAIM, DAEMON_CLAIM = "clients", "gpu"
DAEMON = "daemon"
"""The container of the pod."""
GRANTED = "granted"
START_SECONDS = 2.0
"""A client's start, on a warm node: it waits for no daemon of its own."""


class DaemonSetClients(clients.ClientScenario):
    """names: the clients; other: the pod of another user."""

    def __init__(self, kube: Kube, parameters: Parameters) -> None:
        super().__init__(kube, parameters)
        self.names: list[str] = parameters["pods"]
        self.other: str = parameters["otherUser"]
        self.pods = (*self.names, self.other)
        self.daemon_namespace: str = parameters["daemonNamespace"]

    def clients(self) -> str:
        return ", ".join(self.names)

    # --- the daemon -------------------------------------------------------------------------------

    def daemon_pod(self) -> Any:
        name = self.parameters["daemonSet"]
        pods = release.daemon_pods(self.kube, self.daemon_namespace, name)
        if len(pods) != 1:
            raise CheckFailed(f"{len(pods)} pods of {self.daemon_namespace}/{name}")
        return pods[0]

    def daemon_runs(self) -> str:
        pod = self.daemon_pod()
        return require(pod.status.phase == "Running", f"{pod.metadata.name}: {pod.status.phase}")

    def admin_access(self) -> str:
        """That the daemon's claim has the GPU without taking it from anybody."""
        found = self.claim(DAEMON_CLAIM, has_device, self.daemon_namespace)
        results = allocation_results(found)
        if not results or not all(each.admin_access for each in results):
            raise CheckFailed("no device" if not results else "not by admin access")
        return self.allocated(DAEMON_CLAIM, self.daemon_namespace)

    def limits_of_daemon(self) -> str:
        """What the daemon answers when it is asked for the limits of its clients."""
        log = self.kube.log(self.daemon_namespace, self.daemon_pod().metadata.name, DAEMON)
        found = pod_scenario.last_json(log)
        if found is None:
            raise CheckFailed("the daemon has not said them")
        limits, memory = found["limits"], self.parameters["memoryMib"]
        text = ", ".join(f"{key} {value}" for key, value in limits.items())
        as_wanted = float(limits["threads"]) == self.parameters["threads"][self.names[0]]
        as_wanted &= limits.get("memory", "") in memory_as_told(memory)
        return require(as_wanted, f"{text}; of each client")

    def none_of_driver(self) -> str:
        return self.daemons().require_none_of(self.claim(CLAIM, has_device).metadata.uid)

    def release_daemon(self) -> str:
        name = self.parameters["daemonSet"]
        return release.release_daemons(self.kube, self.daemon_namespace, name)

    def daemon_released(self) -> str:
        """That the daemon ends when its pod is released, and the GPU is everybody's."""
        return f"{self.release_daemon()}; {self.daemons().require_mode(DEFAULT_MODE)}"

    def release_pods(self) -> None:
        super().release_pods()
        with suppress(LabError):  # the gate of who uses the GPU next waits for it
            self.release_daemon()

    # --- the clients ------------------------------------------------------------------------------

    def work_done(self) -> str:
        return clients.work_done(self.printed())

    def printed(self) -> dict[str, Output]:
        self.begin(self.names)
        if not self.outputs:
            self.outputs = {name: self.output(name) for name in self.names}
        return self.outputs

    def pipe_directory(self) -> str:
        return clients.pipe_directory(self.printed())

    def refused_user(self) -> str:
        """That a pod of another user finds no daemon, and on a GPU that it then has no GPU."""
        self.start_in({self.other: 0.0})
        output = self.output(self.other)
        mps, error = output["mps"], output.get("error")
        text = f"user {mps['user']}: {mps['pipes_refused'] or 'it reads the pipe directory'}"
        if self.devices == GPU:
            text += f"; {error or 'it got the GPU'}"
        return require(bool(mps["pipes_refused"]) and bool(error), text)

    def limits(self) -> str:
        """That each client has as many SMs and as much memory as its own limits give it."""
        threads = self.parameters["threads"]
        counts = {name: output["device"]["sm_count"] for name, output in self.outputs.items()}
        text = ", ".join(
            f"{name}: {count} SMs at {threads[name]} %" for name, count in counts.items()
        )
        first, *others = self.names
        for name in others:
            expected = counts[first] * threads[name] / threads[first]
            require(abs(counts[name] - expected) <= GRANULARITY, text)
        for name, output in self.outputs.items():
            for each in output["allocations"]:
                wanted = each["mib"] in self.parameters["granted"][name]
                if (each["result"] == GRANTED) != wanted:
                    raise CheckFailed(f"{name}: {each['mib']} MiB: {each['result']}")
                text += f"; {name}: {each['mib']} MiB {each['result']}"
        return text

    def started_in_time(self, outputs: Mapping[str, Output]) -> str:
        """Sooner than where the driver has to start a daemon first."""
        found = super().started_in_time(outputs)
        slowest = max(row["seconds"] for row in self.started["rows"])
        return require(self.devices != GPU or slowest <= START_SECONDS, found)


def memory_as_told(mib: int) -> tuple[str, ...]:
    """How a daemon tells that limit: NVIDIA's in whole GiB where there is one. 0: it tells none."""
    return (f"{mib}M", f"{mib // 1024}G") if mib else ("",)


STEPS: tuple[Step[DaemonSetClients], ...] = (
    Step("daemon-runs", "the lab's MPS daemon runs on the node of the GPU",
         DaemonSetClients.daemon_runs, "Running", real_on=REAL_NODES),
    Step("daemon-admin-access", "its claim has the GPU by admin access, and takes it from nobody",
         DaemonSetClients.admin_access, lambda s: s.uuid, needs="daemon-runs"),
    Step("clients-running", lambda s: f"{s.clients()} run", lambda s: s.running(*s.names),
         "Running", needs="daemon-runs"),
    Step("clients-allocated", "their ordinary claim has the GPU that it names",
         lambda s: s.allocated(CLAIM), lambda s: s.uuid, needs="clients-running"),
    Step("clients-reserved", "that one claim is reserved for all of them",
         lambda s: s.reserved(CLAIM, s.pods), lambda s: ", ".join(s.pods),
         needs="clients-allocated"),
    Step("one-daemon", "the driver runs no MPS daemon for that claim",
         DaemonSetClients.none_of_driver, "none", needs="clients-allocated", least=MOCKED),
    Step("daemonset-limits", "the daemon has the limits that it was given",
         DaemonSetClients.limits_of_daemon,
         lambda s: f"threads {s.parameters['threads'][s.names[0]]}",
         needs="daemon-runs", least=MOCKED),
    Step("daemonset-reserved", "the GPU is reserved for MPS",
         DaemonSetClients.reserved_for_daemon, EXCLUSIVE_MODE, needs="daemon-runs", least=MOCKED),
    Step("daemonset-work-done", "each client did the work that it counted",
         DaemonSetClients.work_done, "more than 0 TFLOPS each", needs="clients-running", least=GPU),
    Step("daemonset-same-gpu", "each sees the GPU of the claim",
         lambda s: clients.same_gpu(s.outputs, s.uuid), lambda s: s.uuid,
         needs="daemonset-work-done", least=GPU),
    Step("daemonset-clients", "the GPU driver says of each that it is a client of MPS",
         lambda s: clients.are_clients(s.outputs), DaemonSetClients.clients,
         needs="daemonset-work-done", least=GPU),
    Step("client-limits", "each client has its own limits within the daemon's",
         DaemonSetClients.limits, "SMs by the percentages, no memory above the limits",
         needs="daemonset-work-done", least=GPU),
    Step("pipe-volume", "each finds the daemon's pipe in the volume of its namespace",
         DaemonSetClients.pipe_directory, f"CUDA_MPS_PIPE_DIRECTORY is set, and has {PIPE}",
         needs=lambda s: "daemonset-work-done" if s.devices == GPU else "clients-running",
         least=MOCKED),
    Step("other-user", "a pod of another user gets to no daemon, and to no GPU of its own",
         DaemonSetClients.refused_user, "refused at the pipe directory",
         needs="pipe-volume", least=MOCKED),
    Step("daemonset-overlaps", "they worked side by side",
         DaemonSetClients.overlapped, f"at least {LEAST_IN_COMMON:.0%} of the time",
         needs="daemonset-work-done", least=GPU),
    Step("daemonset-start", "they ran soon after they had a node, as they wait for no daemon",
         lambda s: s.started_in_time(s.outputs),
         lambda s: s.in_time() if s.devices != GPU else f"at most {START_SECONDS:.0f} s, no retry",
         needs="pipe-volume", least=MOCKED, failure="warning", remedy=LATE),
    Step("clients-ended", "they end when they are released",
         lambda s: s.end(*s.pods), "Succeeded", needs="clients-running"),
    Step("clients-free", "when they have ended nothing but the daemon has the GPU",
         lambda s: s.unallocated(CLAIM), "pending", needs="clients-ended"),
    Step("daemon-released", "the daemon ends when its pod is released, and the GPU is everybody's",
         DaemonSetClients.daemon_released, f"released; {DEFAULT_MODE}", needs="clients-free",
         least=MOCKED),
)  # fmt: skip
CHECK = PodCheck(
    scenario=DaemonSetClients, steps=STEPS, benchmarks={"pod-start": lambda s: s.started}
)
run = CHECK.run
