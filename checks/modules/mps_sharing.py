"""Module 4: two pods with one claim share a GPU through MPS; one with a claim of its own waits.

Parameters: kubeconfig, namespace, driverNamespace (where the driver runs its MPS daemons), plugin
(its DaemonSet), uuid (the GPU that all claims name), pods (those that share), clusterOwned
(whether the cluster is the lab's alone), webhook (whether NVIDIA's runs there), devices.

The check has the pods start, so it can look once at them; when it has to run again the update
makes fresh ones first. At the end nothing holds the GPU.
"""

import time
from collections.abc import Sequence
from typing import Any

from checks import clients, mps_daemon, pod_scenario, wrong_configs
from checks.clients import LATE, LEAD_SECONDS, LEAST_IN_COMMON, PIPE
from checks.gpu_holders import ENDED
from checks.mps_daemon import EXCLUSIVE_MODE, IN_DRIVER_ROOT
from checks.pod_scenario import TAKEN, Output, Parameters, PodCheck, has_device, last_json
from checks.result import CheckFailed, require
from checks.steps import Step
from checks.wrong_configs import WrongConfigs
from kube.client import Kube
from kube.devices import GPU, MOCKED, SIMULATED
from kube.permissions import on
from kube.pods import describe

IN_DRIVER = mps_daemon.IN_DRIVER
PERMISSIONS = (*pod_scenario.PERMISSIONS, *on("pods", "get"), *wrong_configs.PERMISSIONS)
SHARED, OWN = "shared", "own"
WORK_SECONDS = 90.0
"""The most that pods may take from their start until they have measured."""
LOOK_SECONDS = 0.2
MEASURING = "measuring "
"""In the log of a benchmark from the moment at which it works."""
LIST_CLIENTS = f"""{IN_DRIVER_ROOT}
control() {{ echo "$1" | of_driver nvidia-cuda-mps-control; }}
for server in $(control get_server_list); do
  for client in $(control "get_client_list $server"); do
    groups=
    while read -r line; do groups="$groups $line"; done < "/proc/$client/cgroup"
    echo "$client$groups"
  done
done
"""
"""For the MPS daemon's pod, which sees the node's processes: a line for each client, its PID and
its control groups, whose path names its pod."""


class Sharing(clients.ClientScenario):
    """sharing: the pods that share; wrong: configurations that the driver is to refuse."""

    def __init__(self, kube: Kube, parameters: Parameters) -> None:
        super().__init__(kube, parameters)
        self.sharing: list[str] = parameters["pods"]
        self.pods = (*self.sharing, OWN)
        # On a cluster of others nothing is made to fail: its people would see the events.
        prepares = parameters["clusterOwned"] and self.devices != SIMULATED
        self.wrong = WrongConfigs(
            kube, self.namespace, prepares=prepares, webhook=parameters["webhook"]
        )

    def both(self) -> str:
        return ", ".join(self.sharing)

    def client_list(self) -> str:
        """Have the pods start; ask the daemon for its clients while both are measuring."""
        claim = self.claim(SHARED, has_device)
        self.begin(self.sharing)
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
            missing = [name for name in self.sharing if name not in found]
            seen = "all were listed, but not all worked until then"
            if missing:
                seen = f"{len(lines)} clients, none of {', '.join(missing)}"
            if not missing and self.measuring():
                return ", ".join(f"{name} (PID {pid})" for name, pid in found.items())
        raise CheckFailed(seen)

    def printed(self) -> dict[str, Output]:
        """What each pod printed, after it had worked."""
        self.begin(self.sharing)
        self.outputs = {name: self.output(name) for name in self.sharing}
        return self.outputs

    def daemon(self, claim_uid: str) -> str:
        """The running pod of the MPS daemon that the driver made for the claim."""
        prefix = f"mps-control-daemon-{claim_uid}-"
        listed = self.kube.get(self.kube.core.list_namespaced_pod, namespace=self.driver_namespace)
        found = [pod for pod in listed.items if pod.metadata.name.startswith(prefix)]
        if not found:
            raise CheckFailed(f"no pod {prefix}… in {self.driver_namespace}")
        running = [pod for pod in found if pod.status.phase == "Running"]
        if not running:
            raise CheckFailed(f"{found[0].metadata.name}: {describe(found[0])}")
        return str(running[0].metadata.name)

    def measuring(self) -> bool:
        """Whether all measure at this moment: their logs say so, and hold no result."""
        logs = [self.kube.log(self.namespace, name) for name in self.sharing]
        return all(MEASURING in log and last_json(log) is None for log in logs)

    def over(self) -> bool:
        """Whether one of them has a result, or ended without: they will not meet any more."""
        return any(
            last_json(self.kube.log(self.namespace, name)) is not None
            or self.pod(name).status.phase in ENDED
            for name in self.sharing
        )

    def pod(self, name: str) -> Any:
        return self.kube.get(self.kube.core.read_namespaced_pod, name, self.namespace)

    def pids(self, lines: Sequence[str]) -> dict[str, str]:
        """Pod → PID on the node, of the clients in these lines that belong to our pods."""
        found = {}
        for name in self.sharing:
            # The kubelet writes a uid with hyphens, or for systemd with underscores.
            uid = self.pod(name).metadata.uid
            for line in lines:
                if uid in line or uid.replace("-", "_") in line:
                    found[name] = line.split()[0]
        return found

    def work_done(self) -> str:
        return clients.work_done(self.printed())

    def pipe_directory(self) -> str:
        return clients.pipe_directory(self.outputs or self.printed())

    def shared_memory(self) -> str:
        found = {name: output["mps"]["shared_memory"] for name, output in self.outputs.items()}
        text = ", ".join(f"{name}: device {device}" for name, device in found.items())
        return require(len({*found.values()}) == 1 and None not in found.values(), text)


STEPS: tuple[Step[Sharing], ...] = (
    Step("pods-running", lambda s: f"{s.both()} run", lambda s: s.running(*s.sharing), "Running"),
    Step("claim-allocated", "their claim has the GPU that it names",
         lambda s: s.allocated(SHARED), lambda s: s.uuid, needs="pods-running"),
    Step("claim-shared", "that one claim is reserved for all of them",
         lambda s: s.reserved(SHARED, s.sharing), Sharing.both, needs="claim-allocated"),
    Step("own-claim-waits", "a pod whose own claim names the same GPU has to wait for it",
         lambda s: s.refused(OWN), f"Unschedulable: {TAKEN}", needs="claim-allocated"),
    Step("mps-daemon", "the driver runs an MPS daemon for that claim, without limits",
         lambda s: s.daemon_limits(SHARED), "a Deployment, no limit",
         needs="claim-shared", least=MOCKED),
    Step("gpu-reserved", "the GPU is reserved for that daemon",
         Sharing.reserved_for_daemon, EXCLUSIVE_MODE, needs="mps-daemon", least=MOCKED),
    Step("client-list", "the MPS daemon of the claim has all of them as clients while they work",
         Sharing.client_list, Sharing.both, needs="claim-shared", least=GPU),
    Step("work-done", "each did the work that it counted",
         Sharing.work_done, "more than 0 TFLOPS each", needs="claim-shared", least=GPU),
    Step("same-gpu", "each sees the GPU of the claim",
         lambda s: clients.same_gpu(s.outputs, s.uuid), lambda s: s.uuid,
         needs="work-done", least=GPU),
    Step("mps-clients", "the GPU driver says of each that it is a client of MPS",
         lambda s: clients.are_clients(s.outputs), Sharing.both, needs="work-done", least=GPU),
    Step("pipe-directory", "each was told by its claim where the daemon is, and finds it there",
         Sharing.pipe_directory, f"CUDA_MPS_PIPE_DIRECTORY is set, and has {PIPE}",
         needs=lambda s: "work-done" if s.devices == GPU else "claim-shared", least=MOCKED),
    Step("shared-memory", "they have the daemon's shared memory, not one of their own each",
         Sharing.shared_memory, "one device", needs="pipe-directory", least=MOCKED),
    Step("work-overlaps", "they worked side by side",
         Sharing.overlapped, f"at least {LEAST_IN_COMMON:.0%} of the time",
         needs="work-done", least=GPU),
    Step("start-latency", "they ran soon after they had a node, without a repeated preparation",
         lambda s: s.started_in_time(s.outputs), Sharing.in_time,
         needs="pipe-directory", least=MOCKED, failure="warning", remedy=LATE),
    Step("pods-ended", "they end when they are released",
         lambda s: s.end(*s.sharing), "Succeeded", needs="claim-shared"),
    Step("own-claim-runs", "the pod that waited runs as soon as the GPU is free",
         lambda s: s.running(OWN), "Running", needs="own-claim-waits pods-ended"),
    Step("own-claim-allocated", "its claim has the very GPU that they shared",
         lambda s: s.allocated(OWN), lambda s: s.uuid, needs="own-claim-runs"),
    Step("gpu-free", "when it has ended too nothing holds the GPU",
         lambda s: s.freed([OWN], SHARED, OWN), "pending", needs="own-claim-runs"),
    Step("wrong-config-refused", "a configuration that the driver cannot read is refused",
         lambda s: s.wrong.refused(OWN, OWN), "in NVIDIA's words, at admission or at prepare",
         needs="gpu-free"),
    clients.released("mps-released", "gpu-free"),
)  # fmt: skip
CHECK = PodCheck(scenario=Sharing, steps=STEPS, benchmarks={"pod-start": lambda s: s.started})
run = CHECK.run
