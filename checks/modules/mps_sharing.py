"""Module 4: two pods with one claim share a GPU through MPS; one with a claim of its own waits.

Parameters: kubeconfig, namespace, driverNamespace (where the driver runs its MPS daemons), uuid
(the GPU that all claims name), pods (those that share), simulated.

The check has the pods start, so it can look once at them; when it has to run again the update
makes fresh ones first. At the end nothing holds the GPU.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from checks import clients, pod_start
from checks.gpu_holders import ENDED
from checks.pod_scenario import TAKEN, PodScenario, Verify, has_device, last_json
from checks.result import CheckFailed, Checklist
from kube.client import Kube
from kube.devices import NO_GPU, SIMULATED
from kube.permissions import on
from kube.pods import describe

PERMISSIONS = (*on("pods", "get"), *pod_start.PERMISSIONS)
"""In the namespace, beside the scene's."""
IN_DRIVER = (*on("pods", "list", real=True), *on("pods/exec", "create", "get", real=True))
"""In the driver's namespace. A websocket is a GET; from Kubernetes 1.35 it is a create too."""
SHARED, OWN = "shared", "own"
LEAD_SECONDS = 10.0
"""From the annotation to the start that it names: the kubelet shows it to the pods in between."""
WORK_SECONDS = 90.0
"""The most that pods may take from then on until they have measured."""
LEAST_IN_COMMON = 0.8
"""Part of the time in which the pods must have worked side by side."""
LOOK_SECONDS = 0.2
MEASURING = "measuring "
"""In the log of a benchmark from the moment at which it works."""
LIST_CLIENTS = """\
if [ -x /driver-root/bin/sh ] || [ -x /driver-root/usr/bin/sh ]; then
  control() { echo "$1" | chroot /driver-root nvidia-cuda-mps-control; }
else
  export PATH="/driver-root/usr/bin:/driver-root/bin:/driver-root/usr/local/bin:$PATH"
  lib=/driver-root/lib64:/driver-root/lib:/driver-root/usr/lib64:/driver-root/usr/lib
  export LD_LIBRARY_PATH="$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  export CUDA_MPS_PIPE_DIRECTORY=/driver-root/tmp/nvidia-mps
  control() { echo "$1" | nvidia-cuda-mps-control; }
fi
for server in $(control get_server_list); do
  for client in $(control "get_client_list $server"); do
    groups=
    while read -r line; do groups="$groups $line"; done < "/proc/$client/cgroup"
    echo "$client$groups"
  done
done
"""
"""For the MPS daemon's pod, which sees the node's processes: a line for each client, its PID and
its control groups, whose path names its pod. Where the daemon's programs and its pipe are: the
driver's templates/mps-control-daemon.tmpl.yaml."""


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    scenario = opened(parameters)
    simulated = parameters["simulated"]
    checklist = Checklist(module)
    verify = scenario.verifier(checklist, simulated)
    verify_allocation(scenario, verify)
    if simulated:
        for identity, title in AT_WORK.items():
            checklist.skip(identity, title, NO_GPU[SIMULATED], simulated=True)
        checklist.benchmarks["pod-start"] = {"skipped": NO_GPU[SIMULATED]}
    else:
        verify_work(scenario, verify)
        if scenario.started:
            checklist.benchmarks["pod-start"] = scenario.started
    verify_release(scenario, verify)
    return checklist.to_json()


def release_pods(parameters: dict[str, Any]) -> None:
    """Have the pods end: none of them may keep the GPU."""
    scenario = opened(parameters)
    scenario.release_pods(*scenario.pods, OWN)


def opened(parameters: dict[str, Any]) -> Sharing:
    scenario = Sharing(Kube(parameters["kubeconfig"]), parameters["namespace"], parameters["uuid"])
    scenario.pods, scenario.driver_namespace = parameters["pods"], parameters["driverNamespace"]
    return scenario


def verify_allocation(scenario: Sharing, verify: Verify) -> None:
    """What the API says, on every node."""
    both = ", ".join(scenario.pods)
    verify("pods-running", f"{both} run", lambda: scenario.running(*scenario.pods), "Running")
    verify(
        "claim-allocated",
        "their claim has the GPU that it names",
        lambda: scenario.allocated(SHARED),
        scenario.uuid,
        "pods-running",
    )
    verify(
        "claim-shared",
        "that one claim is reserved for all of them",
        lambda: scenario.reserved(SHARED, scenario.pods),
        both,
        "claim-allocated",
    )
    verify(
        "own-claim-waits",
        "a pod whose own claim names the same GPU has to wait for it",
        lambda: scenario.refused(OWN),
        f"Unschedulable: {TAKEN}",
        "claim-allocated",
    )


AT_WORK = {
    "client-list": "the MPS daemon of the claim has all of them as clients while they work",
    "work-done": "each did the work that it counted",
    "same-gpu": "each sees the GPU of the claim",
    "mps-clients": "the GPU driver says of each that it is a client of MPS",
    "pipe-directory": "each was told by its claim where the daemon is",
    "work-overlaps": "they worked side by side",
    "start-latency": "they ran soon after they had a node, without a repeated preparation",
}


def verify_work(scenario: Sharing, verify: Verify) -> None:
    """What only a GPU can show; in the order in which it can be seen."""

    def at_work(identity: str, probe: Any, expected: str, *needs: str, **more: Any) -> None:
        verify(identity, AT_WORK[identity], probe, expected, *needs, **more)

    both = ", ".join(scenario.pods)
    at_work("client-list", scenario.listed, both, "claim-shared")
    at_work("work-done", scenario.worked, "more than 0 TFLOPS each", "claim-shared")
    at_work(
        "same-gpu",
        lambda: clients.same_gpu(scenario.told, scenario.uuid),
        scenario.uuid,
        "work-done",
    )
    at_work("mps-clients", lambda: clients.are_clients(scenario.told), both, "work-done")
    at_work("pipe-directory", scenario.directed, "CUDA_MPS_PIPE_DIRECTORY is set", "work-done")
    at_work(
        "work-overlaps",
        scenario.overlapped,
        f"at least {LEAST_IN_COMMON:.0%} of the time",
        "work-done",
    )
    at_work(
        "start-latency",
        scenario.started_in_time,
        f"at most {pod_start.MPS_SECONDS:.0f} s, no prepare retry",
        "work-done",
        failure="warning",
        remedy="a first pod after a pause may be slower; look at the events of the pods",
    )


def verify_release(scenario: Sharing, verify: Verify) -> None:
    verify(
        "pods-ended",
        "they end when they are released",
        lambda: scenario.end(*scenario.pods),
        "Succeeded",
        "claim-shared",
    )
    verify(
        "own-claim-runs",
        "the pod that waited runs as soon as the GPU is free",
        lambda: scenario.running(OWN),
        "Running",
        "own-claim-waits",
        "pods-ended",
    )
    verify(
        "own-claim-allocated",
        "its claim has the very GPU that they shared",
        lambda: scenario.allocated(OWN),
        scenario.uuid,
        "own-claim-runs",
    )
    verify(
        "gpu-free",
        "when it has ended too nothing holds the GPU",
        scenario.freed,
        "pending",
        "own-claim-runs",
    )


class Sharing(PodScenario):
    """pods: those that share; told: what they printed; started: how soon they ran."""

    pods: Sequence[str] = ()
    driver_namespace = ""

    def __init__(self, kube: Kube, namespace: str, uuid: str) -> None:
        super().__init__(kube, namespace, uuid)
        self.told: dict[str, dict[str, Any]] = {}
        self.started: dict[str, Any] = {}

    def listed(self) -> str:
        """Have the pods start; ask the daemon for its clients while both are measuring."""
        claim = self.claim(SHARED, has_device)
        self.start_together(LEAD_SECONDS, self.pods)
        daemon = self.daemon(claim.metadata.uid)
        deadline = time.monotonic() + LEAD_SECONDS + WORK_SECONDS
        seen = "nobody measured"
        while time.monotonic() < deadline:
            if not self.measuring():
                if self.over():
                    break
                time.sleep(LOOK_SECONDS)
                continue
            lines = self.kube.execute(self.driver_namespace, daemon, LIST_CLIENTS).splitlines()
            found = self.pids(lines)
            missing = [name for name in self.pods if name not in found]
            seen = "all were listed, but not all worked until then"
            if missing:
                seen = f"{len(lines)} clients, none of {', '.join(missing)}"
            if not missing and self.measuring():
                return ", ".join(f"{name} (PID {pid})" for name, pid in found.items())
        raise CheckFailed(seen)

    def daemon(self, claim_uid: str) -> str:
        """The running pod of the MPS daemon that the driver made for the claim."""
        prefix = f"mps-control-daemon-{claim_uid}-"
        listed = self.kube.get(
            self.kube.core.list_namespaced_pod, namespace=self.driver_namespace
        ).items
        found = [pod for pod in listed if pod.metadata.name.startswith(prefix)]
        if not found:
            raise CheckFailed(f"no pod {prefix}… in {self.driver_namespace}")
        running = [pod for pod in found if pod.status.phase == "Running"]
        if not running:
            raise CheckFailed(f"{found[0].metadata.name}: {describe(found[0])}")
        return str(running[0].metadata.name)

    def measuring(self) -> bool:
        """Whether all are at work at this moment: they said that they measure, and no result."""
        logs = [self.kube.log(self.namespace, name) for name in self.pods]
        return all(MEASURING in log and last_json(log) is None for log in logs)

    def over(self) -> bool:
        """Whether one of them has done its work, or ended without: they will not meet any more."""
        return any(
            last_json(self.kube.log(self.namespace, name)) is not None
            or self.pod(name).status.phase in ENDED
            for name in self.pods
        )

    def pod(self, name: str) -> Any:
        return self.kube.get(self.kube.core.read_namespaced_pod, name, self.namespace)

    def pids(self, lines: Sequence[str]) -> dict[str, str]:
        """Pod → PID on the node, of the clients in these lines that belong to our pods."""
        found = {}
        for name in self.pods:
            # The kubelet writes a uid with hyphens, or for systemd with underscores.
            uid = self.pod(name).metadata.uid
            for line in lines:
                if uid in line or uid.replace("-", "_") in line:
                    found[name] = line.split()[0]
        return found

    def worked(self) -> str:
        """What each pod printed, and that it measured something."""
        self.told = {name: self.said(name) for name in self.pods}
        clients.without_error(self.told)
        rates = {name: told["measures"]["fma"]["tflops"] for name, told in self.told.items()}
        text = ", ".join(f"{name}: {rate:.2f} TFLOPS" for name, rate in rates.items())
        if not all(rate > 0 for rate in rates.values()):
            raise CheckFailed(text)
        return text

    def directed(self) -> str:
        for name, told in self.told.items():
            if not told["mps"]["pipe_directory_set"]:
                raise CheckFailed(f"{name}: it is not set")
        return ", ".join({told["mps"]["pipe_directory"] for told in self.told.values()})

    def overlapped(self) -> str:
        common = clients.in_common(self.told)
        late = max(told["start"]["late_seconds"] for told in self.told.values())
        text = f"{common:.1%} of the time; the latest began {late:.3f} s after the moment"
        if common < LEAST_IN_COMMON:
            raise CheckFailed(text)
        return text

    def started_in_time(self) -> str:
        self.started = pod_start.table(self, self.told)
        return pod_start.in_time(self.started)

    def freed(self) -> str:
        self.release(OWN)
        return self.unallocated(SHARED, OWN)
