"""Module 5: ways to share a GPU are compared, cell by cell, with pods that the check makes."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from checks.cell_pods import MADE_BY
from checks.modules import sharing_comparison
from checks.release import GAVE_BACK
from checks.sharing_table import WORKLOADS
from checks.sharing_ways import WAYS
from kube import devices
from results import output
from tests.unit.benchmark_said import BEGAN, UUID, log, told
from tests.unit.fake_kube import KUBECONFIG, NAMESPACE, claim, findings, pod, running, statuses
from tests.unit.stage import NODE, PLUGIN, PLUGIN_POD, MpsCluster, failed, slices

CLAIM, POD = yaml.safe_load_all(Path("manifests/module5/40-sharing.yaml").read_text())
PARAMETERS: dict[str, Any] = {
    "kubeconfig": KUBECONFIG,
    "namespace": NAMESPACE,
    "driverNamespace": NAMESPACE,
    "plugin": PLUGIN,
    "uuid": UUID,
    "clusterOwned": True,
    "versions": {"kubernetes": "1.37.2", "dra_driver": "0.5.0"},
    "devices": devices.GPU,
    "stack": "module5",
    "sweep": "quick",
    "minutes": 30,
    "claim": CLAIM,
    "pod": POD,
    "programs": "0123456789ab",
    "gpuDriver": "580.159.04",
    "parts": ["configured", "daemonset", "shares"],
    "last": True,
    "withShares": False,
    "mpsDaemonset": {},
}
DAEMON = {
    "namespace": NAMESPACE,
    "daemonSet": "mps-comparison",
    "pipeDirectory": "/mps",
    "volumeClaim": "mps-pipe",
}
RATES = {"exclusive": 60.0, "time-sliced": 58.0, "mps-driver": 66.0}
"""Of all clients together."""
CELLS = ["exclusive-1", "time-sliced-2", "time-sliced-4", "mps-driver-1", "mps-driver-2",
         "mps-driver-4"]  # fmt: skip
MOCKED_ERROR = "cuInit: CUDA_ERROR_NO_DEVICE (the GPU is mocked)"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Cluster(MpsCluster):
    """Runs whatever pods are made. made: them; present: names of those that were there whenever one
    was made; late: how many seconds after the start clients learn of it; broken: pods that do
    not start; error: of every client."""

    def __init__(self) -> None:
        super().__init__(claims=[claim("other")], slices=slices())
        self.daemon_of = "other"
        self.driver_pods.append(pod(PLUGIN_POD, "Running", on=NODE))
        self.on_create = self.created
        self.made: list[dict[str, Any]] = []
        self.late, self.error = 0.01, ""
        self.broken: tuple[str, ...] = ()
        self.mps: bool | None = None

    def created(self, made: dict[str, Any]) -> None:
        self.made.append(made)
        name = made["metadata"]["name"]
        if name not in self.broken:
            self.pods[-1].status.phase = "Running"

    def log(self, namespace: str, pod: str, container: str | None = None) -> str:
        if container:  # of the lab's own daemon, which gives the GPU back when it is told to
            told_to = any(each.metadata.annotations for each in self.driver_pods)
            return GAVE_BACK[container] if told_to else ""
        way, count, _ = pod.rsplit("-", 2)
        found = told("MPS 100 %")
        found |= {"start": {"late_seconds": self.late}, "began": BEGAN}
        found["mps"]["client"] = way.startswith("mps") if self.mps is None else self.mps
        if self.error:
            return log(found | {"error": self.error})
        rate = RATES[way] / int(count)
        slots = [
            {"began": BEGAN, "ended": BEGAN + 1, "launches": 9, "rate": rate, "p50_us": 10.0,
             "p99_us": 20.0, "energy_j": 300.0}
        ] * 3  # fmt: skip
        found["workloads"] = {name: {"unit": name, "slots": slots} for name in WORKLOADS}
        return log(found)


def run(**changed: Any) -> dict[str, Any]:
    return sharing_comparison.run("5", PARAMETERS | changed)


def names(cluster: Cluster) -> list[str]:
    """The cells whose pods were made, in order."""
    return [*dict.fromkeys(each["metadata"]["name"].rpartition("-")[0] for each in cluster.made)]


def test_every_way_is_measured_with_every_number_of_clients(cluster: Cluster) -> None:
    result = run()
    assert failed(result) == {}
    assert names(cluster) == CELLS
    found = statuses(result)
    assert found["way-time-sliced"] == found["way-mps-driver"] == "passed"
    assert found["way-mps-daemonset"] == "needs mps=daemonset or mps=both"
    assert found["way-time-short"] == "only with sweep=full"
    assert found["way-shares"].startswith("needs a driver of the lab's own, 0.5.0 or later")
    assert "2 clients: mps-driver, 10.0% above exclusive" in findings(result)[
        "sharing-compared"]["found"]  # fmt: skip


def test_pods_are_labelled_restricted_and_gone_at_the_end(cluster: Cluster) -> None:
    run()
    assert [each.metadata.name for each in cluster.claims] == ["other"]
    assert cluster.pods == []
    for made in cluster.made:
        assert made["metadata"]["labels"] == {MADE_BY: sharing_comparison.NAME}
        assert made["spec"]["securityContext"]["runAsNonRoot"]
        (container,) = made["spec"]["containers"]
        assert "--repeats" in container["command"]


def test_the_table_has_a_row_for_each_cell_and_each_way_that_is_missing(cluster: Cluster) -> None:
    result = run()
    for workload in WORKLOADS:
        table = result["benchmarks"][f"sharing-{workload}"]
        measured = [f"{r['way']}-{r['clients']}" for r in table["rows"] if r["clients"]]
        assert measured == CELLS
        skipped = {row["way"] for row in table["rows"] if row["clients"] is None}
        assert {"shares", "mps-daemonset", "time-default"} <= skipped
        row = table["rows"][-1 - len(skipped)]
        assert (row["way"], row["gain"], row["slowdown"]) == ("mps-driver", 1.1, 3.636)
        assert table["environment"]["gpu"] == "NVIDIA H200"
        assert "4 clients: mps-driver" in table["winners"]


def test_what_is_measured_is_not_measured_by_the_next_update(cluster: Cluster) -> None:
    run()
    cluster.made.clear()
    result = run()
    assert cluster.made == []
    assert len(result["benchmarks"]["sharing-compute"]["rows"]) > len(CELLS)
    run(gpuDriver="590.1")
    assert names(cluster) == CELLS, "another GPU driver is measured anew"


def test_a_cell_whose_pod_does_not_run_fails_alone(cluster: Cluster) -> None:
    cluster.broken = ("time-sliced-4-2",)
    result = run()
    assert "1 of 2 cells; time-sliced-4: " in failed(result)["way-time-sliced"]
    assert names(cluster) == CELLS
    assert statuses(result)["sharing-compared"] == "needs all cells; missing: time-sliced-4"
    assert "winners" not in result["benchmarks"]["sharing-compute"]
    assert cluster.pods == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"late": 1.5}, "a client began 1.5 s after the moment"),
        ({"error": "cuInit: refused"}, "cuInit: refused"),
        ({"mps": True}, "exclusive-1-1: CU_DEVICE_ATTRIBUTE_MPS_ENABLED"),
    ],
)
def test_what_is_no_fair_measurement_is_not_kept(
    cluster: Cluster, change: dict[str, Any], found: str
) -> None:
    vars(cluster).update(change)
    assert found in failed(run())["way-exclusive"]
    assert [*Path(".results").rglob("exclusive-*.json")] == []


def test_pods_of_a_killed_check_are_removed_first(cluster: Cluster) -> None:
    left = copy.deepcopy(pod("time-sliced-2-1", "Running", on=NODE))
    left.metadata.labels = {MADE_BY: sharing_comparison.NAME}
    cluster.pods.append(left)
    assert failed(run()) == {}
    assert names(cluster) == CELLS


def test_with_mocked_gpus_cells_run_and_nothing_is_measured(cluster: Cluster) -> None:
    cluster.error = MOCKED_ERROR
    result = run(devices=devices.MOCKED)
    assert result["status"] == "passed"
    assert names(cluster) == CELLS
    needs_gpu = "needs a GPU: this node's GPUs are mocked"
    assert statuses(result)["sharing-compared"] == needs_gpu
    assert {str(each) for each in result["benchmarks"].values()} == {str({"skipped": needs_gpu})}
    for file in Path(".results").rglob("*.json"):
        outputs = json.loads(file.read_text())["outputs"]
        assert all("workloads" not in output for output in outputs)


def test_on_a_simulated_node_no_pod_is_made(cluster: Cluster) -> None:
    result = run(devices=devices.SIMULATED)
    assert result["status"] == "skipped"
    assert cluster.made == []


def test_ways_that_the_lab_has_are_measured_too(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for way in ("mps-daemonset", "shares"):
        monkeypatch.setitem(RATES, way, 50.0)
    result = run(mpsDaemonset=DAEMON, withShares=True)
    assert failed(result) == {}
    by_name = {each["metadata"]["name"]: each["spec"] for each in cluster.made}
    (container,) = by_name["mps-daemonset-2-1"]["containers"]
    assert {"name": "CUDA_MPS_PIPE_DIRECTORY", "value": "/mps"} in container["env"]
    assert {"name": "mps-pipe", "mountPath": "/mps", "readOnly": True} in container["volumeMounts"]
    own = [by_name[f"shares-2-{n}"]["resourceClaims"][0]["resourceClaimName"] for n in (1, 2)]
    assert own == ["shares-2-1", "shares-2-2"]


def test_what_needs_another_driver_is_measured_apart_and_compared_with_the_rest(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RATES, "shares", 50.0)
    first = run(parts=["configured"], last=False, withShares=True)
    assert names(cluster) == CELLS
    assert "way-shares" not in statuses(first)
    assert "sharing-compared" not in statuses(first)
    assert "sharing-compute" not in first.get("benchmarks", {})
    cluster.made.clear()
    second = run(parts=["shares"], withShares=True)
    assert failed(second) == {}
    assert names(cluster) == ["shares-2", "shares-4"]
    rows = second["benchmarks"]["sharing-compute"]["rows"]
    assert {"exclusive", "mps-driver", "shares"} <= {row["way"] for row in rows}
    assert "mps-driver" in findings(second)["sharing-compared"]["found"]


def test_the_labs_own_daemon_is_at_work_for_its_part_only(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RATES, "mps-daemonset", 50.0)
    assert "comparison-daemon-released" not in statuses(run(mpsDaemonset={}))
    cluster.made.clear()
    daemon = pod("mps-comparison-x2b7k", "Running", on=NODE)
    daemon.metadata.labels = {"app": "mps-comparison"}
    daemon.status.container_statuses = [running("daemon")]
    cluster.driver_pods.append(daemon)
    cluster.pods.append(daemon)
    result = run(parts=["daemonset"], last=False, mpsDaemonset=DAEMON)
    assert failed(result) == {}
    assert names(cluster) == [f"mps-daemonset-{number}" for number in (1, 2, 4)]
    assert statuses(result)["comparison-daemon-released"] == "passed"
    assert "dra-workshop/release" in daemon.metadata.annotations


def test_a_whole_comparison_has_every_interval_and_fits_what_may_be_printed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = {way.name: 50.123456 for way in WAYS}
    monkeypatch.setattr(sys.modules[__name__], "RATES", every)
    result = run(sweep="full", mpsDaemonset=DAEMON, withShares=True)
    assert failed(result) == {}
    assert {f"time-{each}-3" for each in ("default", "short", "medium", "long")} <= {
        *names(cluster)
    }
    short = output.shortened("module5", sharing_comparison.NAME, result)
    assert len(json.dumps(short)) < output.LIMIT * 0.9
    for workload in WORKLOADS:
        name = f"sharing-{workload}"
        whole = result["benchmarks"][name]["rows"]
        assert short["benchmarks"][name]["rows"] == whole, "no row is left out"
