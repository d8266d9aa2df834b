"""Module 5: a memory limit is kept, its neighbours are left in peace, and its hole is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from checks.modules import mps_memory
from kube import devices
from tests.unit.benchmark_said import BEGAN, UUID, log, told
from tests.unit.fake_kube import (
    KUBECONFIG,
    NAMESPACE,
    claim,
    event,
    findings,
    pod,
    statuses,
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

PODS = list(mps_memory.PODS)
NO_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"
PARAMETERS = {
    "kubeconfig": KUBECONFIG,
    "namespace": NAMESPACE,
    "driverNamespace": NAMESPACE,
    "plugin": PLUGIN,
    "uuid": UUID,
    "sharePercentage": 10,
    "limitMib": 1024,
    "under": [256, 512],
    "over": [1100, 2048],
    "versions": {"kubernetes": "1.37.2", "dra_driver": "0.4.1"},
    "clusterOwned": True,
    "devices": devices.GPU,
}
LIMITS = (
    "set_default_active_thread_percentage 10",
    f"set_default_device_pinned_mem_limit {UUID} 1024M",
)
Results = dict[int, str]
Change = Callable[[dict[str, Any]], object]


def asked(case: str, results: Results, at: float = BEGAN) -> dict[str, Any]:
    """What a client said that asked for these sizes at that moment."""
    found = told(case)
    found["allocations"] = [
        {"mib": mib, "result": result, "at": at} for mib, result in results.items()
    ]
    return found


class Cluster(MpsCluster):
    """Four clients under a limit of 1 GiB and 10 %, as they were on an H200."""

    def __init__(self) -> None:
        super().__init__(
            pods=[pod(name, "Running", on=NODE) for name in PODS],
            claims=[claim("memory", (NODE, "gpu-0"), PODS)],
            slices=slices(),
            events=[event("Scheduled", name, "2026-11-21T11:19:57.000000Z") for name in PODS],
        )
        self.results = {
            "neighbour": neighbour(),
            "allocator": asked(
                "a client that tries to raise both limits",
                {256: "granted", 512: "granted", 1100: NO_MEMORY, 2048: NO_MEMORY},
            ),
            "raiser": asked(
                "a client that tries to raise both limits", {1100: NO_MEMORY, 2048: NO_MEMORY}
            ),
            "escaper": asked("a client that names a GPU that is not there", {2048: NO_MEMORY}),
        }
        self.on_patch = self.patched
        self.start_daemon("memory", *LIMITS)

    def log(self, namespace: str, pod: str, container: str | None = None) -> str:
        return log(self.results[pod])

    def patched(self, name: str) -> None:
        end_if_let_go(next(p for p in self.pods if p.metadata.name == name))
        if all(p.status.phase == "Succeeded" for p in self.pods):
            self.claims[0] = claim("memory")
            self.end_daemon()


def neighbour() -> dict[str, Any]:
    """It measured from before the others asked until after."""
    found = asked("MPS 10 %", {})
    found["measures"]["fma"] |= {"start": BEGAN - 4, "end": BEGAN + 4}
    return found


def run(**changed: Any) -> dict[str, Any]:
    return mps_memory.run("5", PARAMETERS | changed)


def test_a_limit_that_holds_passes_and_is_told(cluster: Cluster) -> None:
    result = run()
    assert failed(result) == {}
    assert list(findings(result)) == [step.id for step in mps_memory.STEPS]
    assert set(statuses(result).values()) == {"passed"}
    found = {identity: finding["found"] for identity, finding in findings(result).items()}
    assert found["limits-read-back"] == "952 MiB free of 143156 MiB, 12 SMs at 10 %"
    assert found["under-limit-served"] == "256 MiB: granted, 512 MiB: granted"
    assert found["over-limit-refused"] == f"1100 MiB: {NO_MEMORY}, 2048 MiB: {NO_MEMORY}"
    assert found["neighbour-unharmed"].startswith("7 of 7 requests came while it measured; 6.03")
    assert "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE=100" in found["limits-not-raised"]


def test_the_table_says_who_asked_for_what(cluster: Cluster) -> None:
    benchmarks = run()["benchmarks"]
    table = benchmarks["mps-memory-limit"]
    assert [(r["client"], r["asked_mib"], r["result"]) for r in table["rows"]] == [
        ("allocator", 256, "granted"), ("allocator", 512, "granted"),
        ("allocator", 1100, NO_MEMORY), ("allocator", 2048, NO_MEMORY),
        ("raiser", 1100, NO_MEMORY), ("raiser", 2048, NO_MEMORY),
        ("escaper", 2048, NO_MEMORY),
    ]  # fmt: skip
    assert table["rows"][-1]["asked_of_mps"] == "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT=0=2G,1=4G"
    assert table["environment"]["gpu"] == "NVIDIA H200"
    assert table["neighbour"]["median"] == pytest.approx(6.03, abs=0.01)
    assert [row["pod"] for row in benchmarks["pod-start"]["rows"]] == PODS


def test_the_hole_in_the_limit_is_a_warning_that_says_so(cluster: Cluster) -> None:
    cluster.results["escaper"]["allocations"][0]["result"] = "granted"
    result = run()
    finding = findings(result)["limit-not-dropped"]
    assert finding["status"] == "warning"
    assert finding["found"] == (
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT=0=2G,1=4G drops the memory limit: 143009 MiB free; "
        "escaper: 2048 MiB: granted; 12 SMs as before"
    )
    assert "let only pods that you trust" in finding["remedy"]
    assert result["status"] == "passed"


def test_on_a_simulated_node_nothing_is_measured_and_no_figure_invented(cluster: Cluster) -> None:
    needs_gpu = "needs a GPU: this node is simulated"
    result = run(devices=devices.SIMULATED)
    assert failed(result) == {}
    assert skipped(result) == skipped_on(devices.SIMULATED, mps_memory.STEPS)
    assert set(map(str, result["benchmarks"].values())) == {str({"skipped": needs_gpu})}


def test_with_mocked_gpus_the_daemon_is_told_both_limits_and_nothing_is_measured(
    cluster: Cluster,
) -> None:
    result = run(devices=devices.MOCKED)
    assert result["status"] == "passed"
    assert skipped(result) == skipped_on(devices.MOCKED, mps_memory.STEPS)
    told_limits = findings(result)["memory-daemon"]["found"]
    assert told_limits == f"mps-control-daemon-uid-of-memory-7882d: {', '.join(LIMITS)}"
    needs_gpu = {"skipped": "needs a GPU: this node's GPUs are mocked"}
    assert [*result["benchmarks"].values()] == [needs_gpu, needs_gpu]


def set_result(name: str, mib: int, result: str) -> Callable[[Cluster], None]:
    def change(cluster: Cluster) -> None:
        tried = cluster.results[name]["allocations"]
        next(each for each in tried if each["mib"] == mib)["result"] = result

    return change


def update(name: str, *path: str, **values: Any) -> Callable[[Cluster], None]:
    def change(cluster: Cluster) -> None:
        place = cluster.results[name]
        for key in path:
            place = place[key]
        place.update(values)

    return change


@pytest.mark.parametrize(
    ("change", "identity", "found"),
    [
        (set_result("allocator", 2048, "granted"), "over-limit-refused", "2048 MiB: granted"),
        (set_result("allocator", 1100, "CUDA_ERROR_UNKNOWN"), "over-limit-refused", "_UNKNOWN"),
        (set_result("allocator", 512, NO_MEMORY), "under-limit-served", f"512 MiB: {NO_MEMORY}"),
        (set_result("raiser", 1100, "granted"), "limits-not-raised", "1100 MiB: granted"),
        (update("raiser", "device", sm_count=132), "limits-not-raised", "132 SMs"),
        (update("raiser", "memory", free_mib=65000.0), "limits-not-raised", "65000 MiB free"),
        (update("allocator", "memory", free_mib=1025.0), "limits-read-back", "1025 MiB free"),
        (update("allocator", "device", sm_count=26), "limits-read-back", "26 SMs at 10 %"),
        (update("neighbour", error="cuCtx: gone"), "neighbour-unharmed", "neighbour: cuCtx: gone"),
        (update("neighbour", "measures", "fma", cv=0.06), "neighbour-unharmed", "6.00%"),
        (
            update("neighbour", "measures", "fma", end=BEGAN - 1),
            "neighbour-unharmed",
            "0 of 7 requests came while it measured",
        ),
        (update("raiser", error="cuInit: no"), "memory-asked", "raiser: cuInit: no"),
        (update("escaper", "mps", client=False, proof="none"), "memory-asked", "escaper: none"),
        (update("raiser", "device", uuid="GPU-other"), "memory-asked", "raiser: GPU-other"),
    ],
)
def test_what_does_not_hold_fails_and_is_told(
    cluster: Cluster, change: Callable[[Cluster], None], identity: str, found: str
) -> None:
    change(cluster)
    told_of = failed(run())
    assert list(told_of) == [identity]
    assert found in told_of[identity]


def test_a_neighbour_that_never_came_to_measure_fails(cluster: Cluster) -> None:
    cluster.results["neighbour"] = told("MPS, memory limit 300M")
    found = failed(run())
    assert list(found) == ["neighbour-unharmed"]
    assert found["neighbour-unharmed"].startswith("neighbour: cuDevicePrimaryCtxRetain")


def test_a_claim_that_not_all_use_fails(cluster: Cluster) -> None:
    cluster.claims[0] = claim("memory", (NODE, "gpu-0"), PODS[:3])
    result = run()
    assert failed(result) == {"memory-allocated": "pods/allocator, pods/neighbour, pods/raiser"}
    assert "benchmarks" not in result


def test_a_pod_that_failed_fails_and_all_are_let_go(cluster: Cluster) -> None:
    cluster.pods[3] = pod("escaper", "Failed", on=NODE)
    assert failed(run()) == {"memory-running": f"escaper: Failed on {NODE}"}
    assert all(p.metadata.annotations for p in cluster.pods)


def test_a_check_that_is_not_run_lets_its_pods_go(cluster: Cluster) -> None:
    mps_memory.CHECK.release_pods(PARAMETERS)
    assert all(p.status.phase == "Succeeded" for p in cluster.pods)
