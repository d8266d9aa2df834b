"""Module 4: that two pods share a GPU by MPS is seen, step by step, and each step can fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from checks import mps_daemon, wrong_configs
from checks.modules import mps_sharing
from checks.pod_scenario import RETRIED
from kube import devices
from tests.unit.benchmark_said import UUID, log, told
from tests.unit.fake_kube import (
    FORBIDDEN,
    FORBIDDEN_TEXT,
    KUBECONFIG,
    NAMESPACE,
    claim,
    deployment,
    event,
    findings,
    pod,
    statuses,
    unschedulable,
)
from tests.unit.stage import (
    NODE,
    PLUGIN,
    MpsCluster,
    end_if_let_go,
    failed,
    skipped,
    skipped_on,
    slices,
)

PODS = ["shared-1", "shared-2"]
DAEMON = "mps-control-daemon-uid-of-shared-ab12c-5d9f7-xk2lp"
TAKEN = "0/1 nodes are available: 1 cannot allocate all claims."
PARAMETERS = {
    "kubeconfig": KUBECONFIG,
    "namespace": NAMESPACE,
    "driverNamespace": NAMESPACE,
    "plugin": PLUGIN,
    "uuid": UUID,
    "pods": PODS,
    "clusterOwned": True,
    "webhook": False,
    "devices": devices.GPU,
}
REFUSED = event(RETRIED, "wrong-config", message=f"{wrong_configs.FAILED}strict decoding error")
API = ["pods-running", "claim-allocated", "claim-shared", "own-claim-waits"]
AFTER = ["pods-ended", "own-claim-runs", "own-claim-allocated", "gpu-free", "wrong-config-refused"]
PIPES = "/tmp/dra-trial/pipe"
STARTS = "12:00:00 to start in 9.9 s\n"
WORKING = "12:00:00 measuring fma\n"
LINES = [f"412 0::/kubepods/besteffort/poduid-of-{name}/c0ffee" for name in PODS]
CASE = "three clients at 20 %, client 1"
Change = Callable[[dict[str, Any]], object]


class Cluster(MpsCluster):
    """Two pods that share the GPU of their claim, a third that waits for it."""

    def __init__(self) -> None:
        super().__init__(
            pods=[
                *(pod(name, "Running", on=NODE) for name in PODS),
                unschedulable("own", TAKEN),
                pod(DAEMON, "Running", on=NODE),
            ],
            claims=[claim("shared", (NODE, "gpu-0"), PODS), claim("own")],
            slices=slices(),
            scripts=["\n".join(LINES)],
            events=[
                *(event("Scheduled", name, "2026-11-21T11:19:57.000000Z") for name in PODS),
                REFUSED,
            ],
        )
        self.say(told(CASE), told(CASE))
        self.on_patch = self.patched
        self.start_daemon("shared")

    def say(self, *results: dict[str, Any]) -> None:
        """Each pod knows the start, measures at two looks, then prints its result."""
        for name, result in zip(PODS, results, strict=True):
            self.logs[name] = [STARTS, WORKING, WORKING, log(result)]

    def patched(self, name: str) -> None:
        end_if_let_go(self.named(name))
        if all(self.named(each).status.phase == "Succeeded" for each in PODS):
            self.claims[0] = claim("shared")
            self.end_daemon()
            if self.named("own").status.phase == "Pending":
                self.pods[2] = pod("own", "Running", on=NODE)
                self.claims[1] = claim("own", (NODE, "gpu-0"), ["own"])
        if self.named("own").status.phase == "Succeeded":
            self.claims[1] = claim("own")

    def named(self, name: str) -> Any:
        return next(p for p in self.pods if p.metadata.name == name)


def run(**changed: Any) -> dict[str, Any]:
    return mps_sharing.run("4", PARAMETERS | changed)


def test_on_a_gpu_everything_passes_and_is_told(cluster: Cluster) -> None:
    result = run()
    assert failed(result) == {}
    assert list(findings(result)) == [step.id for step in mps_sharing.STEPS]
    assert set(statuses(result).values()) == {"passed"}
    found = {identity: finding["found"] for identity, finding in findings(result).items()}
    assert found["client-list"] == "shared-1 (PID 412), shared-2 (PID 412)"
    assert found["work-done"] == "shared-1: 13.06 TFLOPS, shared-2: 13.06 TFLOPS"
    assert found["claim-shared"] == "shared-1, shared-2"
    assert "CU_DEVICE_ATTRIBUTE_MPS_ENABLED is 1" in found["mps-clients"]
    assert found["start-latency"] == "all 2 ran after 3.2 s, 0 prepare retries"
    assert not any(finding["simulated"] for finding in result["checks"])
    rows = result["benchmarks"]["pod-start"]["rows"]
    assert rows == [{"pod": name, "seconds": 3.25, "prepare_retries": 0} for name in PODS]


def test_on_a_simulated_node_what_needs_a_gpu_is_skipped_by_name(cluster: Cluster) -> None:
    cluster.logs.clear()
    result = run(devices=devices.SIMULATED)
    assert failed(result) == {}
    unseen = "the cluster has no webhook of NVIDIA's, and no claim is prepared for this"
    on_simulated = skipped_on(devices.SIMULATED, mps_sharing.STEPS)
    assert skipped(result) == on_simulated | {"wrong-config-refused": unseen}
    needs_gpu = "needs a GPU: this node is simulated"
    assert result["benchmarks"] == {"pod-start": {"skipped": needs_gpu}}
    assert cluster.ran == []


def on_a_mocked_gpu(case: str = CASE) -> dict[str, Any]:
    """What the program prints where nothing computes."""
    found = told(case)
    return {key: found[key] for key in ("began", "mps")} | {"error": "cuInit: the GPU is mocked"}


def test_with_mocked_gpus_the_daemon_is_seen_at_work_and_nothing_is_measured(
    cluster: Cluster,
) -> None:
    for name in PODS:
        cluster.logs[name] = log(on_a_mocked_gpu())
    result = run(devices=devices.MOCKED)
    assert result["status"] == "passed"
    assert skipped(result) == skipped_on(devices.MOCKED, mps_sharing.STEPS)
    assert {finding["basis"] for finding in result["checks"]} == {"mocked"}
    found = {identity: finding["found"] for identity, finding in findings(result).items()}
    assert found["mps-daemon"] == "mps-control-daemon-uid-of-shared-7882d: no limit"
    assert found["gpu-reserved"] == "Exclusive_Process"
    assert found["pipe-directory"] == PIPES
    assert found["shared-memory"] == "shared-1: device 48, shared-2: device 48"
    assert found["start-latency"] == "all 2 ran after 3.2 s, 0 prepare retries"
    assert found["mps-released"] == "nothing; Default"


@pytest.mark.parametrize(
    ("change", "identity", "found"),
    [
        ({"pipe_directory_set": False}, "pipe-directory", "shared-2: it is not set"),
        ({"pipes": []}, "pipe-directory", f"shared-2: no control in {PIPES}"),
        ({"shared_memory": 52}, "shared-memory", "shared-1: device 48, shared-2: device 52"),
    ],
)
def test_a_pod_that_lacks_something_of_its_claim_fails(
    cluster: Cluster, change: dict[str, Any], identity: str, found: str
) -> None:
    second = on_a_mocked_gpu()
    second["mps"] |= change
    cluster.say(on_a_mocked_gpu(), second)
    assert failed(run(devices=devices.MOCKED)) == {identity: found}


GONE = "5945c482-8378-488e-b1b8-a0f4bf32ce8e"
FOLDER = f"/var/lib/kubelet/plugins/gpu.nvidia.com/mps/{GONE}-7882d"


def test_what_a_failed_prepare_left_is_named(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mps_daemon, "SECONDS", 0.0)
    cluster.deployments.append(deployment(f"mps-control-daemon-{GONE}-7882d"))
    cluster.left = (f"folder {FOLDER}", f"mount {FOLDER}/shm")
    cluster.mode = "Exclusive_Process"
    assert failed(run()) == {
        "mps-released": f"Deployment mps-control-daemon-{GONE}-7882d; folder {FOLDER}; "
        f"mount {FOLDER}/shm; "
        "compute mode Exclusive_Process"
    }


def test_the_daemon_of_another_claim_is_nothing_left(cluster: Cluster) -> None:
    others = claim("others", (NODE, "gpu-1"))
    others.metadata.uid = GONE
    cluster.claims.append(others)
    cluster.deployments.append(deployment(f"mps-control-daemon-{GONE}-7882d"))
    cluster.left = (f"folder {FOLDER}", f"mount {FOLDER}/shm")
    assert failed(run()) == {}


def test_a_daemon_with_limits_that_nobody_asked_for_fails(cluster: Cluster) -> None:
    cluster.deployments.clear()
    cluster.start_daemon("shared", "set_default_active_thread_percentage 20")
    limit = "set_default_active_thread_percentage 20"
    name = "mps-control-daemon-uid-of-shared-7882d"
    assert failed(run()) == {"mps-daemon": f"{name}: {limit}"}


def test_both_are_started_at_the_same_moment(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: dict[str, str] = {}

    def first(name: str) -> None:
        annotations = cluster.named(name).metadata.annotations
        if name in PODS:
            starts.setdefault(name, annotations["dra-workshop/start"])
        cluster.patched(name)

    cluster.on_patch = first
    run()
    assert starts["shared-1"] == starts["shared-2"]


def test_a_pod_to_which_the_kubelet_does_not_show_the_start_is_told_again(
    cluster: Cluster,
) -> None:
    patches: list[str] = []
    shown = cluster.logs["shared-2"]
    cluster.logs["shared-2"] = "12:00:00 ready, waiting for dra-workshop/start=… in /podinfo\n"

    def second(name: str) -> None:
        patches.append(name)
        if patches.count("shared-2") == 2:
            cluster.logs["shared-2"] = shown
        cluster.patched(name)

    cluster.on_patch = second
    assert failed(run()) == {}
    assert patches[:3] == ["shared-1", "shared-2", "shared-2"]


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (LINES[:1], "1 clients, none of shared-2"),
        ([], "0 clients, none of shared-1, shared-2"),
        (["77 0::/kubepods/podother/abc", LINES[1]], "2 clients, none of shared-1"),
    ],
)
def test_a_client_that_the_daemon_does_not_list_fails(
    cluster: Cluster, lines: list[str], found: str
) -> None:
    cluster.scripts = ["\n".join(lines)]
    assert failed(run()) == {"client-list": found}


def test_a_list_from_before_or_after_the_work_does_not_count(cluster: Cluster) -> None:
    for name in PODS:
        cluster.logs[name] = ["starting\n", "starting\n", log(told(CASE))]
    assert failed(run()) == {"client-list": "nobody measured"}
    assert cluster.ran == []


def test_a_list_during_which_one_ended_its_work_does_not_count(cluster: Cluster) -> None:
    cluster.logs["shared-2"] = [STARTS, WORKING, log(told(CASE))]
    assert failed(run()) == {"client-list": "all were listed, but not all worked until then"}


def test_groups_as_systemd_names_them_are_understood(cluster: Cluster) -> None:
    for item in cluster.pods[:2]:
        item.metadata.uid = f"1234-{item.metadata.name[-1]}"
    cluster.events = [REFUSED]
    cluster.scripts = ["5 0::/kubepods-pod1234_1.slice/c\n6 0::/kubepods-pod1234_2.slice/c"]
    result = run()
    assert findings(result)["client-list"]["found"] == "shared-1 (PID 5), shared-2 (PID 6)"


def test_no_daemon_for_the_claim_fails(cluster: Cluster) -> None:
    del cluster.pods[3]
    assert failed(run()) == {"client-list": "no pod mps-control-daemon-uid-of-shared-… in lab"}


def test_a_daemon_in_which_nothing_can_be_run_fails(cluster: Cluster) -> None:
    cluster.refusals["connect_get_namespaced_pod_exec"] = FORBIDDEN
    refused = dict.fromkeys(("gpu-reserved", "client-list", "mps-released"), FORBIDDEN_TEXT)
    assert failed(run()) == refused


def not_a_client(result: dict[str, Any]) -> None:
    result["mps"] |= {"client": False, "proof": "CU_DEVICE_ATTRIBUTE_MPS_ENABLED is 0"}


@pytest.mark.parametrize(
    ("change", "identity", "found"),
    [
        (not_a_client, "mps-clients", "shared-2: CU_DEVICE_ATTRIBUTE_MPS_ENABLED is 0"),
        (lambda r: r["device"].update(uuid="GPU-other"), "same-gpu", "shared-2: GPU-other"),
        (
            lambda r: r["mps"].update(pipe_directory_set=False),
            "pipe-directory",
            "shared-2: it is not set",
        ),
    ],
)
def test_a_pod_that_is_not_what_it_should_be_fails(
    cluster: Cluster, change: Change, identity: str, found: str
) -> None:
    second = told(CASE)
    change(second)
    cluster.say(told(CASE), second)
    assert failed(run()) == {identity: found}


def test_work_one_after_the_other_fails(cluster: Cluster) -> None:
    late = told(CASE)
    late["start"] = {"late_seconds": 1.5}
    fma = late["measures"]["fma"]
    fma["start"], fma["end"] = fma["end"] - 0.2, fma["end"] + 2
    first = told(CASE)
    cluster.say(first, late)
    assert failed(run()) == {
        "work-overlaps": "10.0% of the time; the latest began 1.500 s after the moment"
    }


def test_a_program_that_went_wrong_says_why_and_no_more_is_believed(cluster: Cluster) -> None:
    cluster.say(told(CASE), told("MPS, memory limit 300M"))
    result = run()
    assert list(failed(result)) == ["work-done"]
    assert failed(result)["work-done"].startswith("shared-2: cuDevicePrimaryCtxRetain")
    assert statuses(result)["same-gpu"] == "needs work-done"
    assert statuses(result)["gpu-free"] == "passed"


def test_no_work_fails(cluster: Cluster) -> None:
    idle = told(CASE)
    idle["measures"]["fma"]["tflops"] = 0.0
    cluster.say(told(CASE), idle)
    assert "shared-2: 0.00 TFLOPS" in failed(run())["work-done"]


def test_a_log_without_json_fails_with_its_last_line(cluster: Cluster) -> None:
    cluster.logs["shared-2"] = ["ModuleNotFoundError: nvml"]
    cluster.scripts = [""]
    found = failed(run())
    assert (
        found["work-done"] == "shared-2 printed no JSON; its last line: ModuleNotFoundError: nvml"
    )


@pytest.mark.parametrize(
    ("events", "found"),
    [
        (
            [
                event("Scheduled", "shared-1", "2026-11-21T11:19:59.000000Z"),
                event("Scheduled", "shared-2", "2026-11-21T11:19:50.250000Z"),
            ],
            "all 2 ran after 10.0 s, 0 prepare retries",
        ),
        (
            [
                *(event("Scheduled", name, "2026-11-21T11:19:59.250000Z") for name in PODS),
                event("FailedPrepareDynamicResources", "shared-1", count=3),
            ],
            "all 2 ran after 1.0 s, 3 prepare retries",
        ),
        ([], "no event says when shared-1, shared-2 was scheduled"),
    ],
)
def test_a_slow_or_repeated_start_is_a_warning(
    cluster: Cluster, events: list[Any], found: str
) -> None:
    cluster.events = [*events, REFUSED]
    result = run()
    finding = findings(result)["start-latency"]
    assert (finding["status"], finding["found"]) == ("warning", found)
    assert result["status"] == "passed"


def test_pods_with_another_claim_or_none_fail(cluster: Cluster) -> None:
    cluster.claims[0] = claim("shared", (NODE, "gpu-0"), PODS[:1])
    assert failed(run())["claim-shared"] == "pods/shared-1"


def test_another_pod_on_the_claim_fails(cluster: Cluster) -> None:
    cluster.claims[0] = claim("shared", (NODE, "gpu-0"), [*PODS, "stranger"])
    assert failed(run())["claim-shared"] == "pods/shared-1, pods/shared-2, pods/stranger"


def test_a_pod_with_its_own_claim_that_does_not_wait_fails(cluster: Cluster) -> None:
    cluster.pods[2] = pod("own", "Running", on=NODE)
    assert failed(run())["own-claim-waits"] == f"Running on {NODE}"


def test_a_pod_that_failed_fails_and_nothing_is_kept(cluster: Cluster) -> None:
    cluster.pods[1] = pod("shared-2", "Failed", on=NODE)
    result = run()
    assert failed(result) == {"pods-running": f"shared-2: Failed on {NODE}"}
    assert all(cluster.named(name).metadata.annotations for name in (*PODS, "own"))


def test_a_check_that_is_not_run_lets_its_pods_go(cluster: Cluster) -> None:
    mps_sharing.CHECK.release_pods(PARAMETERS)
    assert cluster.named("shared-1").status.phase == "Succeeded"
    annotations = cluster.named("own").metadata.annotations
    assert json.loads(annotations["dra-workshop/release"]) is True
