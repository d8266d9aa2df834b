"""Module 5: percentages buy the SMs that they should, fairly; each deviation fails and is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from checks.clients import expected_sms
from checks.modules import mps_percentage
from kube import devices
from tests.unit.benchmark_said import BEGAN, UUID, log, told
from tests.unit.fake_kube import (
    KUBECONFIG,
    NAMESPACE,
    claim,
    event,
    findings,
    job,
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

PERCENTAGES = [100, 50, 20, 10, 1]
PODS = ["share-1", "share-2", "share-3"]
CLIENTS = [f"three clients at 20 %, client {number}" for number in (1, 2, 3)]
TAKING_TURNS = [f"three processes without MPS (default time slice), client {n}" for n in (1, 2, 3)]
PARAMETERS = {
    "kubeconfig": KUBECONFIG,
    "namespace": NAMESPACE,
    "driverNamespace": NAMESPACE,
    "plugin": PLUGIN,
    "uuid": UUID,
    "percentages": PERCENTAGES,
    "sharePercentage": 20,
    "pods": PODS,
    "versions": {"kubernetes": "1.37.2", "dra_driver": "0.4.1"},
    "clusterOwned": True,
    "devices": devices.GPU,
}
API = ["sweep-completed", "sweep-released", "share-running", "share-allocated"]
Change = Callable[[dict[str, Any]], object]


class Cluster(MpsCluster):
    """The sweep is done, the clients wait for their start; all say what an H200 said."""

    def __init__(self) -> None:
        super().__init__(
            jobs=[
                job(f"percentage-{each}", f"2026-11-21T11:2{i}:00Z", f"2026-11-21T11:2{i}:30Z")
                for i, each in enumerate(PERCENTAGES)
            ],
            pods=[
                *(pod(f"percentage-{each}-abcde", "Succeeded", on=NODE) for each in PERCENTAGES),
                *(pod(name, "Running", on=NODE) for name in PODS),
            ],
            claims=[
                claim("share", (NODE, "gpu-0"), PODS),
                *(claim(f"percentage-{each}") for each in PERCENTAGES),
            ],
            slices=slices(),
        )
        for item in self.pods[: len(PERCENTAGES)]:
            name = item.metadata.name.removesuffix("-abcde")
            item.metadata.labels = {mps_percentage.JOB_NAME: name}
        self.events = [
            event("Scheduled", item.metadata.name, "2026-11-21T11:19:57.000000Z")
            for item in self.pods
        ]
        for each in PERCENTAGES:
            self.logs[f"percentage-{each}-abcde"] = log(told(f"MPS {each} %"))
        for name, case in zip(PODS, CLIENTS, strict=True):
            self.logs[name] = log(told(case))
        self.on_patch = self.patched
        self.start_daemon("share", "set_default_active_thread_percentage 20")

    def patched(self, name: str) -> None:
        end_if_let_go(next(p for p in self.pods if p.metadata.name == name))
        if all(p.status.phase == "Succeeded" for p in self.pods):
            self.claims[0] = claim("share")
            self.end_daemon()

    def change(self, name: str, case: str, change: Change) -> None:
        """One pod says something else."""
        result = told(case)
        change(result)
        self.logs[name] = log(result)


def run(**changed: Any) -> dict[str, Any]:
    return mps_percentage.run("5", PARAMETERS | changed)


def test_what_an_h200_did_passes_and_is_told(cluster: Cluster) -> None:
    result = run()
    assert failed(result) == {}
    assert list(findings(result)) == [step.id for step in mps_percentage.STEPS]
    assert set(statuses(result).values()) == {"passed"}
    found = {identity: finding["found"] for identity, finding in findings(result).items()}
    assert found["sweep-completed"] == "100 %, 50 %, 20 %, 10 %, 1 %"
    assert found["sm-counts"] == (
        "100 %: 132, 50 %: 66, 20 %: 26, 10 %: 12, 1 %: 8; 1 % buys 8 SMs of 132, which is 6.1%"
    )
    assert found["rate-per-sm"] == "within 0.02%, 99.1% to 99.1% of the peak of these SMs"
    assert found["share-measured"] == "share-1: 26 SMs, share-2: 26 SMs, share-3: 26 SMs"
    assert found["share-fair"].startswith("1.000000: 13.06, 13.06, 13.06 TFLOPS")
    assert found["share-overlaps"].startswith("100.0% of the time")


def test_the_tables_hold_what_was_measured(cluster: Cluster) -> None:
    benchmarks = run()["benchmarks"]
    table = benchmarks["mps-thread-percentage"]
    assert (table["module"], table["unit"]) == ("5", "TFLOPS")
    assert [(row["percentage"], row["clients"], row["sm_count"]) for row in table["rows"]] == [
        (100, 1, 132), (50, 1, 66), (20, 1, 26), (10, 1, 12), (1, 1, 8),
        (20, 3, 26), (20, 3, 26), (20, 3, 26),
    ]  # fmt: skip
    first, shared = table["rows"][0], table["rows"][-1]
    assert first["median"] == told("MPS 100 %")["measures"]["fma"]["median"]
    assert first["latency_p99_us"] == told("MPS 100 %")["measures"]["latency"]["p99"]
    assert first["bandwidth_gb_s"] == pytest.approx(4049, abs=1)
    assert shared["slowdown"] == pytest.approx(1, abs=0.001)
    assert len(shared["values"]) == 5
    assert table["aggregate"] == pytest.approx(39.19, abs=0.01)
    assert table["jain"] > 0.999
    assert table["environment"] == {
        "gpu": "NVIDIA H200",
        "uuid": UUID,
        "compute_capability": "9.0",
        "memory_mib": 143155.9375,
        "cuda": "13.0",
        "driver": "580.159.04",
        "clock_max_mhz": 1980.0,
        "kubernetes": "1.37.2",
        "versions": {"kubernetes": "1.37.2", "dra_driver": "0.4.1"},
    }
    starts = benchmarks["pod-start"]["rows"]
    assert len(starts) == 8
    assert starts[0] == {"pod": "percentage-100-abcde", "seconds": 3.25, "prepare_retries": 0}


def test_on_a_simulated_node_nothing_is_measured_and_no_figure_invented(cluster: Cluster) -> None:
    cluster.logs.clear()
    needs_gpu = "needs a GPU: this node is simulated"
    result = run(devices=devices.SIMULATED)
    assert failed(result) == {}
    assert skipped(result) == skipped_on(devices.SIMULATED, mps_percentage.STEPS)
    assert result["benchmarks"] == {
        "mps-thread-percentage": {"skipped": needs_gpu},
        "pod-start": {"skipped": needs_gpu},
    }


def test_with_mocked_gpus_pods_start_and_the_daemon_is_told_the_percentage(
    cluster: Cluster,
) -> None:
    for name in cluster.logs:
        cluster.logs[name] = log({"began": BEGAN, "error": "cuInit: the GPU is mocked"})
    cluster.events.append(event("FailedPrepareDynamicResources", "share-1"))
    result = run(devices=devices.MOCKED)
    assert result["status"] == "passed"
    assert skipped(result) == skipped_on(devices.MOCKED, mps_percentage.STEPS)
    start = findings(result)["start-latency"]
    assert (start["status"], start["found"]) == (
        "warning",
        "all 8 ran after 3.2 s, 1 prepare retries",
    )
    assert findings(result)["share-daemon"]["found"].endswith(" 20")
    assert "rows" not in result["benchmarks"]["mps-thread-percentage"]
    mocked = {"skipped": "needs a GPU: this node's GPUs are mocked"}
    assert result["benchmarks"]["pod-start"] == mocked


# --- the sweep --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpu", "percentage", "all_sms", "expected"),
    [
        ("NVIDIA H200", 100, 132, (132, 132)),
        ("NVIDIA H200", 50, 132, (66, 66)),
        ("NVIDIA H200", 20, 132, (26, 26)),
        ("NVIDIA H200", 10, 132, (12, 12)),
        ("NVIDIA H200", 1, 132, (8, 8)),
        ("NVIDIA H200", 100, 120, (132, 132)),
        ("NVIDIA H200", 30, 132, (38, 38)),
        ("NVIDIA A100", 50, 42, (20, 20)),
        ("NVIDIA A100", 30, 42, (12, 12)),
        ("NVIDIA A100", 10, 42, (2, 8)),
        ("NVIDIA GeForce RTX 4090", 1, 128, (2, 8)),
        ("NVIDIA RTX PRO 6000", 25, 188, (46, 46)),
    ],
)
def test_the_sms_of_a_percentage(
    gpu: str, percentage: int, all_sms: int, expected: tuple[int, int]
) -> None:
    assert expected_sms(gpu, percentage, all_sms) == expected


@pytest.mark.parametrize(("percentage", "count"), [(1, 10), (20, 28), (10, 10), (100, 120)])
def test_another_number_of_sms_fails(cluster: Cluster, percentage: int, count: int) -> None:
    cluster.change(
        f"percentage-{percentage}-abcde",
        f"MPS {percentage} %",
        lambda r: r["device"].update(sm_count=count),
    )
    found = failed(run())
    assert next(iter(found)) == "sm-counts"
    assert f"{percentage} %: {count}" in found["sm-counts"]


def test_sms_that_do_less_at_the_same_clock_fail(cluster: Cluster) -> None:
    def slower(result: dict[str, Any]) -> None:
        result["measures"]["fma"]["tflops_per_sm"] *= 0.97

    cluster.change("percentage-10-abcde", "MPS 10 %", slower)
    assert failed(run())["rate-per-sm"].startswith("within 3.0")


def test_a_lower_clock_is_no_lower_rate(cluster: Cluster) -> None:
    def throttled(result: dict[str, Any]) -> None:
        result["measures"]["fma"]["tflops_per_sm"] *= 0.5
        result["measures"]["fma"]["peak_at_mhz"] *= 0.5

    cluster.change("percentage-10-abcde", "MPS 10 %", throttled)
    assert failed(run()) == {}


@pytest.mark.parametrize(
    ("case", "change", "found"),
    [
        ("MPS, memory limit 300M", lambda r: None, "10 %: cuDevicePrimaryCtxRetain"),
        ("MPS 10 %", lambda r: r["device"].update(uuid="GPU-other"), "10 %: GPU-other"),
        ("solo, no MPS", lambda r: None, "10 %: CU_DEVICE_ATTRIBUTE_MPS_ENABLED is 0"),
    ],
)
def test_a_step_that_did_not_measure_as_it_should_fails(
    cluster: Cluster, case: str, change: Change, found: str
) -> None:
    cluster.change("percentage-10-abcde", case, change)
    result = run()
    assert failed(result)["sweep-measured"].startswith(found)
    assert statuses(result)["sm-counts"] == "needs sweep-measured"
    assert "benchmarks" not in result, "no table of half a sweep"


def test_a_step_that_printed_no_json_fails(cluster: Cluster) -> None:
    cluster.logs["percentage-1-abcde"] = "Killed\n"
    expected = "percentage-1-abcde printed no JSON; its last line: Killed"
    assert failed(run())["sweep-measured"] == expected


def test_a_step_that_began_too_early_fails(cluster: Cluster) -> None:
    cluster.jobs[2] = job("percentage-20", "2026-11-21T11:21:10Z", "2026-11-21T11:22:30Z")
    found = failed(run())["sweep-completed"]
    assert found == "Job percentage-20 began before the one before it had ended"


def test_a_job_that_failed_or_is_missing_fails(cluster: Cluster) -> None:
    cluster.jobs[4] = job("percentage-1", "2026-11-21T11:24:00Z", None)
    assert failed(run())["sweep-completed"] == "Job percentage-1 did not complete"
    del cluster.jobs[4]
    assert failed(run())["sweep-completed"] == "Job percentage-1 is not there"


def test_a_claim_of_the_sweep_that_keeps_the_gpu_fails(cluster: Cluster) -> None:
    cluster.claims[3] = claim("percentage-20", (NODE, "gpu-0"))
    assert failed(run())["sweep-released"] == f"allocated: {NODE}/gpu-0"


# --- several at a time ------------------------------------------------------------------------


def test_clients_that_take_turns_have_too_many_sms(cluster: Cluster) -> None:
    for name, case in zip(PODS, TAKING_TURNS, strict=True):
        cluster.change(name, case, lambda r: r["mps"].update(client=True))
    found = failed(run())["share-measured"]
    assert found == "share-1: 132 SMs, share-2: 132 SMs, share-3: 132 SMs; expected 26 each"


def test_a_client_that_gets_less_than_the_others_fails(cluster: Cluster) -> None:
    cluster.change("share-3", CLIENTS[2], lambda r: r["measures"]["fma"].update(median=12.0))
    result = run()
    assert failed(result) == {"share-fair": "0.998452: 13.06, 13.06, 12.00 TFLOPS"}
    assert result["benchmarks"]["mps-thread-percentage"]["rows"][-1]["slowdown"] > 1.08


def test_a_rate_that_varies_fails(cluster: Cluster) -> None:
    cluster.change("share-2", CLIENTS[1], lambda r: r["measures"]["fma"].update(cv=0.06))
    assert "share-2: 6.00%" in failed(run())["share-steady"]


def test_clients_that_did_not_work_at_the_same_time_fail(cluster: Cluster) -> None:
    def late(result: dict[str, Any]) -> None:
        result["measures"]["fma"]["start"] += 100
        result["measures"]["fma"]["end"] += 100

    cluster.change("share-2", CLIENTS[1], late)
    assert failed(run())["share-overlaps"].startswith("0.0% of the time")


def test_a_client_that_went_wrong_fails_and_the_sweep_is_kept(cluster: Cluster) -> None:
    cluster.change("share-1", CLIENTS[0], lambda r: r.update(error="cuInit: gone"))
    result = run()
    assert failed(result) == {"share-measured": "share-1: cuInit: gone"}
    table = result["benchmarks"]["mps-thread-percentage"]
    assert len(table["rows"]) == 5
    assert "jain" not in table


def test_a_client_that_failed_to_start_fails_and_all_are_let_go(cluster: Cluster) -> None:
    cluster.pods[-1] = pod("share-3", "Failed", on=NODE)
    assert failed(run()) == {"share-running": f"share-3: Failed on {NODE}"}
    assert all(p.metadata.annotations for p in cluster.pods[-3:])


def test_a_check_that_is_not_run_lets_its_pods_go(cluster: Cluster) -> None:
    mps_percentage.CHECK.release_pods(PARAMETERS)
    assert all(p.status.phase == "Succeeded" for p in cluster.pods)
