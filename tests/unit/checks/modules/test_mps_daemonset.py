"""Module 4's other way: what clients of the lab's own MPS daemon find, and that each can fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from checks import mps_daemon, release
from checks.modules import mps_daemonset
from checks.release import GAVE_BACK
from kube import devices
from tests.unit.benchmark_said import UUID, log, told
from tests.unit.fake_kube import (
    KUBECONFIG,
    NAMESPACE,
    claim,
    deployment,
    event,
    findings,
    pod,
    running,
)
from tests.unit.stage import (
    NODE,
    PLUGIN,
    PLUGIN_POD,
    MpsCluster,
    end_if_let_go,
    failed,
    skipped,
    skipped_on,
    slices,
)

DAEMONS = "dra-mps"
DAEMON = "mps-daemon-x2b7k"
CLIENTS = ["client-1", "client-2"]
OTHER = "other-user"
PARAMETERS = {
    "kubeconfig": KUBECONFIG,
    "namespace": NAMESPACE,
    "daemonNamespace": DAEMONS,
    "daemonSet": "mps-daemon",
    "driverNamespace": NAMESPACE,
    "plugin": PLUGIN,
    "uuid": UUID,
    "pods": CLIENTS,
    "otherUser": OTHER,
    "threads": {"client-1": 50, "client-2": 25},
    "memoryMib": 1024,
    "granted": {"client-1": [256, 512], "client-2": [128, 256]},
    "clusterOwned": True,
    "devices": devices.GPU,
}
CASE = "three clients at 20 %, client 1"
SAID = {"program": "mps_daemon", "user": 65534, "limits": {"threads": "50.0", "memory": "1G"}}
REFUSED = {"pipes": [], "pipes_refused": "Permission denied", "user": 65533}
BUSY = "cuDevicePrimaryCtxRetain: CUDA_ERROR_DEVICE_UNAVAILABLE"
Change = Callable[[dict[str, Any]], object]


def client(sms: int, granted: list[int], refused: list[int]) -> dict[str, Any]:
    found = told(CASE)
    found["device"]["sm_count"] = sms
    found["mps"] |= {"pipe_directory": "/mps/pipe", "pipes_refused": "", "user": 65534}
    sizes = dict.fromkeys(granted, "granted") | dict.fromkeys(refused, "CUDA_ERROR_OUT_OF_MEMORY")
    found["allocations"] = [{"mib": mib, "result": result} for mib, result in sizes.items()]
    return found


class Cluster(MpsCluster):
    """Two clients and a pod of another user have the GPU by one claim, the daemon by its own."""

    def __init__(self) -> None:
        names = [*CLIENTS, OTHER]
        daemon, admin = pod(DAEMON, "Running", on=NODE), claim("gpu", (NODE, "gpu-0"))
        daemon.metadata.labels = {"app": "mps-daemon"}
        daemon.status.container_statuses = [running("reserve"), running("daemon")]
        daemon.metadata.namespace = admin.metadata.namespace = DAEMONS
        (result,) = admin.status.allocation.devices.results
        result.admin_access = True
        super().__init__(
            pods=[*(pod(name, "Running", on=NODE) for name in names), daemon],
            claims=[claim("clients", (NODE, "gpu-0"), names), admin],
            slices=slices(),
            driver_pods=[pod(PLUGIN_POD, "Running", on=NODE)],
            events=[event("Scheduled", name, "2026-11-21T11:19:59.000000Z") for name in CLIENTS],
            on_patch=lambda name: self.patched(name),
        )
        self.reserved = True
        self.logs[DAEMON] = json.dumps(SAID)
        self.say("client-1", client(66, [256, 512], [1100, 2048]))
        self.say("client-2", client(32, [128, 256], [550, 1024]))
        self.say(OTHER, {"began": 0.0, "mps": dict(REFUSED), "error": BUSY})

    @property
    def shared(self) -> bool:
        return self.reserved

    def log(self, namespace: str, pod: str, container: str | None = None) -> str:
        """Its containers say when they have given the GPU back."""
        said = super().log(namespace, pod, container)
        return f"{said}\n{GAVE_BACK[container]}" if container and not self.reserved else said

    def say(self, name: str, result: dict[str, Any]) -> None:
        self.logs[name] = log(result)

    def patched(self, name: str) -> None:
        found = next(each for each in self.pods if each.metadata.name == name)
        if name == DAEMON:  # it stays, without a daemon
            self.reserved = False
            return
        end_if_let_go(found)
        if all(each.status.phase == "Succeeded" for each in self.pods[:3]):
            self.claims[0] = claim("clients")


def run(**changed: Any) -> dict[str, Any]:
    return mps_daemonset.run("4", PARAMETERS | changed)


def test_on_a_gpu_everything_passes_and_is_told(cluster: Cluster) -> None:
    result = run()
    assert failed(result) == {}
    found = {identity: each["found"] for identity, each in findings(result).items()}
    assert list(found) == [step.id for step in mps_daemonset.STEPS]
    assert {each["status"] for each in findings(result).values()} == {"passed"}
    assert found["daemonset-limits"] == "threads 50.0, memory 1G; of each client"
    assert found["client-limits"].startswith("client-1: 66 SMs at 50 %, client-2: 32 SMs at 25 %;")
    assert "client-2: 550 MiB CUDA_ERROR_OUT_OF_MEMORY" in found["client-limits"]
    assert found["other-user"] == f"user 65533: Permission denied; {BUSY}"
    assert found["daemonset-start"] == "all 2 ran after 1.2 s, 0 prepare retries"
    assert found["daemon-released"] == "released; Default"
    rows = result["benchmarks"]["pod-start"]["rows"]
    assert [row["pod"] for row in rows] == CLIENTS


def test_on_a_simulated_node_what_needs_a_gpu_is_skipped_by_name(cluster: Cluster) -> None:
    cluster.logs.clear()
    result = run(devices=devices.SIMULATED)
    assert failed(result) == {}
    assert skipped(result) == skipped_on(devices.SIMULATED, mps_daemonset.STEPS)
    assert {each["basis"] for each in result["checks"]} == {"simulated"}


def test_with_mocked_gpus_the_daemon_is_seen_and_nothing_is_measured(cluster: Cluster) -> None:
    for name in (*CLIENTS, OTHER):
        said = client(0, [], [])
        mps = said["mps"] | (REFUSED if name == OTHER else {})
        mocked = {"began": said["began"], "mps": mps, "error": "cuInit: the GPU is mocked"}
        cluster.say(name, mocked)
    result = run(devices=devices.MOCKED)
    assert failed(result) == {}
    assert skipped(result) == skipped_on(devices.MOCKED, mps_daemonset.STEPS)
    found = {identity: each["found"] for identity, each in findings(result).items()}
    assert found["other-user"] == "user 65533: Permission denied"
    assert result["benchmarks"]["pod-start"].keys() == {"skipped"}


@pytest.mark.parametrize(
    ("name", "change", "identity", "found"),
    [
        ("client-2", lambda r: r["mps"].update(client=False), "daemonset-clients", "client-2: "),
        ("client-2", lambda r: r["device"].update(uuid="GPU-x"), "daemonset-same-gpu", "client-2:"),
        ("client-1", lambda r: r["mps"].update(pipes=[]), "pipe-volume", "client-1: no control in"),
        (
            "client-2",
            lambda r: r["device"].update(sm_count=66),
            "client-limits",
            "client-1: 66 SMs",
        ),
        (
            "client-2",
            lambda r: r["allocations"][2].update(result="granted"),
            "client-limits",
            "client-2: 550 MiB: granted",
        ),
        (OTHER, lambda r: r.pop("error"), "other-user", "user 65533: Permission denied; it got"),
        (
            OTHER,
            lambda r: r["mps"].update(pipes=["control"], pipes_refused=""),
            "other-user",
            "user 65533: it reads the pipe directory",
        ),
    ],
)
def test_a_pod_that_is_not_what_it_should_be_fails(
    cluster: Cluster, name: str, change: Change, identity: str, found: str
) -> None:
    said = json.loads(cluster.logs[name].splitlines()[1])  # type: ignore[union-attr]
    change(said)
    cluster.say(name, said)
    result = failed(run())
    assert list(result) == [identity]
    assert result[identity].startswith(found)


def test_a_daemon_of_the_driver_beside_it_fails(cluster: Cluster) -> None:
    name = "mps-control-daemon-uid-of-clients-7882d"
    cluster.deployments.append(deployment(name))
    assert failed(run()) == {"one-daemon": name}


def test_a_claim_without_admin_access_fails(cluster: Cluster) -> None:
    cluster.claims[1].status.allocation.devices.results[0].admin_access = None
    assert failed(run()) == {"daemon-admin-access": "not by admin access"}


def test_a_gpu_that_stays_reserved_fails(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (mps_daemon, release):
        monkeypatch.setattr(module, "SECONDS", 0)
    cluster.patched = lambda name: None if name == DAEMON else Cluster.patched(cluster, name)  # type: ignore[method-assign]
    assert failed(run()) == {"daemon-released": f"at work: {DAEMON}"}


def test_the_daemon_is_released_where_the_check_is_not_run(cluster: Cluster) -> None:
    mps_daemonset.CHECK.release_pods(PARAMETERS)
    assert not cluster.reserved
