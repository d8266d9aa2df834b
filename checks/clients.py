"""Pods that run the benchmark as clients of MPS: what they printed, and what is made of it.

The JSON is that of workloads/gpu_benchmark.py.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from checks.mps_daemon import EXCLUSIVE_MODE, Daemons
from checks.pod_scenario import Output, Parameters, PodScenario, has_device
from checks.result import CheckFailed, CheckSkipped, require
from checks.steps import Step
from kube.client import Kube
from kube.devices import GPU, MOCKED
from machine.gpu_host import DEFAULT_MODE

LEAD_SECONDS = 10.0
"""From the annotation to the start that it names: the kubelet shows it to the pods in between."""
LEAST_IN_COMMON = 0.8
"""Part of the time in which pods must have worked side by side."""
MOST_CV = 0.05
OF_FMA = ("values", "median", "cv", "fraction_of_peak", "tflops_per_sm")
MEASURED_SMS: dict[str, dict[int, int]] = {
    "NVIDIA H200": {100: 132, 50: 66, 20: 26, 10: 12, 1: 8},
}
"""GPU → percentage → SMs, where it was measured: docs/results/gpu-benchmark-2026-11-21.md."""
GRANULARITY = 2
"""SMs come in pairs (TPCs): 50 % of 42 SMs is 20, 25 % of 188 is 46 (A100, RTX PRO 6000)."""
MOST_LEAST = 8
"""What 1 % buys on Hopper; other architectures give less (2 on Ada)."""
START_SECONDS = 5.0
"""An MPS pod on a warm node, its daemon's start included. On an H200 14 pods took 2.4 to 5.9 s: the
driver looks whether the daemon is ready after 1 to 2 s, and then after 2 to 4 s more."""
REMOVE_DAEMON = (
    "driver 0.5.0 leaves them when it could not prepare a claim: delete the Deployment, and on the "
    "node unmount and remove the folder and run nvidia-smi -c DEFAULT; make destroy does it all on "
    "a host node and on kind"
)
PIPE = "control"
"""In the pipe directory of every MPS daemon."""
LATE = "a first pod after a pause may be slower; look at the events of the pods"


class ClientScenario(PodScenario):
    """Parameters: also driverNamespace and plugin (where the driver runs MPS daemons, and its
    DaemonSet, "" where they are not known), clusterOwned. outputs: pod → what it printed; started:
    how soon the pods ran, a table."""

    def __init__(self, kube: Kube, parameters: Parameters) -> None:
        super().__init__(kube, parameters)
        self.driver_namespace: str = parameters["driverNamespace"]
        self.outputs: dict[str, Output] = {}
        self.started: dict[str, Any] = {}
        self.begun = False

    def daemons(self) -> Daemons:
        plugin = self.parameters["plugin"]
        if not plugin:
            raise CheckSkipped("where the driver runs its MPS daemons is not known")
        found = [device for device in self.published() if device.uuid == self.uuid]
        if not found:
            raise CheckFailed(f"{self.uuid} is not published")
        # Of what others left on a cluster of theirs the lab is no judge.
        judged = "" if self.parameters["clusterOwned"] else self.namespace
        return Daemons(self.kube, self.driver_namespace, plugin, found[0], judged)

    def daemon_limits(self, claim: str, expected: Iterable[str] = ()) -> str:
        """That the driver runs a daemon for the claim, with these limits and no others."""
        uid = self.claim(claim, has_device).metadata.uid
        name, found = self.daemons().limits(uid)
        text = f"{name}: {', '.join(found) or 'no limit'}"
        return require(sorted(found) == sorted(expected), text)

    def reserved_for_daemon(self) -> str:
        mode = self.daemons().compute_mode()
        return require(mode == EXCLUSIVE_MODE, mode)

    def begin(self, names: Iterable[str]) -> None:
        """Have the pods start, once; together where they measure."""
        if not self.begun:
            ahead = LEAD_SECONDS if self.devices == GPU else 0.0
            self.start_in(dict.fromkeys(names, ahead))
        self.begun = True

    def require_clients(self, outputs: Mapping[str, Output]) -> None:
        """CheckFailed unless all are clients of MPS on the GPU, without an error."""
        require_no_error(outputs)
        same_gpu(outputs, self.uuid)
        are_clients(outputs)

    def overlapped(self) -> str:
        common = in_common(self.outputs)
        late = max(output["start"]["late_seconds"] for output in self.outputs.values())
        text = f"{common:.1%} of the time; the latest began {late:.3f} s after the moment"
        return require(common >= LEAST_IN_COMMON, text)

    def started_in_time(self, outputs: Mapping[str, Output]) -> str:
        """CheckFailed where a GPU's pod took too long, or a claim had to be prepared again."""
        self.started = self.starts(outputs)
        rows = self.started["rows"]
        if unknown := [row["pod"] for row in rows if row["seconds"] is None]:
            raise CheckFailed(f"no event says when {', '.join(unknown)} was scheduled")
        slowest = max(row["seconds"] for row in rows)
        retries = sum(row["prepare_retries"] for row in rows)
        text = f"all {len(rows)} ran after {slowest:.1f} s, {retries} prepare retries"
        late = self.devices == GPU and slowest > START_SECONDS
        return require(not late and not retries, text)

    def in_time(self) -> str:
        """What `started_in_time` expects."""
        seconds = f"at most {START_SECONDS:.0f} s, " if self.devices == GPU else ""
        return f"{seconds}no prepare retry"

    def benchmark(self, name: str, unit: str, rows: list[Any], output: Output) -> dict[str, Any]:
        """Module 5's table. output: of a client, which saw the GPU and its software."""
        device, nvml, versions = output["device"], output["nvml"], self.parameters["versions"]
        environment = {
            "gpu": device["name"],
            "uuid": device["uuid"],
            "compute_capability": device["compute_capability"],
            "memory_mib": output["memory"]["total_mib"],
            "cuda": device["cuda"],
            "driver": nvml.get("driver", nvml.get("error")),
            "clock_max_mhz": device["clock_max_mhz"],
            "kubernetes": versions["kubernetes"],
            "versions": dict(versions),
        }
        return {"module": "5", "name": name, "unit": unit, "rows": rows, "environment": environment}


def released(identity: str, needs: str) -> Step[ClientScenario]:
    """The last step of a check of pods that used MPS."""
    return Step(
        identity,
        "no MPS daemon is left without a claim: no Deployment, folder or mount, no reserved GPU",
        lambda s: s.daemons().require_none_left(),
        f"nothing; {DEFAULT_MODE}",
        needs=needs,
        least=MOCKED,
        remedy=REMOVE_DAEMON,
    )


def percentage_limit(percentage: int) -> str:
    """The command by which the driver gives it to a daemon."""
    return f"set_default_active_thread_percentage {percentage}"


def require_no_error(outputs: Mapping[str, Output]) -> None:
    """CheckFailed with what went wrong in the first pod in which something did."""
    for name, output in outputs.items():
        if error := output.get("error"):
            raise CheckFailed(f"{name}: {error}")


def same_gpu(outputs: Mapping[str, Output], uuid: str) -> str:
    for name, output in outputs.items():
        if (seen := output["device"]["uuid"]) != uuid:
            raise CheckFailed(f"{name}: {seen}")
    return f"{', '.join(outputs)}: {uuid}"


def are_clients(outputs: Mapping[str, Output]) -> str:
    """That all are clients of MPS, each with its proof."""
    for name, output in outputs.items():
        if not output["mps"]["client"]:
            raise CheckFailed(f"{name}: {output['mps']['proof']}")
    return "; ".join(f"{name}: {output['mps']['proof']}" for name, output in outputs.items())


def expected_sms(gpu: str, percentage: int, all_sms: int) -> tuple[int, int]:
    """The least and the most SMs that a client may see at this percentage.

    What was measured on that GPU, else the largest even number that is not above the percentage;
    where that is less than the least that a GPU gives at all, which is not known for every one,
    2 to 8.
    """
    if (known := MEASURED_SMS.get(gpu, {}).get(percentage)) is not None:
        return known, known
    even = all_sms * percentage // 100 // GRANULARITY * GRANULARITY
    return (even, even) if even >= MOST_LEAST else (GRANULARITY, MOST_LEAST)


def window(output: Output) -> tuple[float, float]:
    """When the values were taken, seconds since 1970."""
    return output["measures"]["fma"]["start"], output["measures"]["fma"]["end"]


def in_common(outputs: Mapping[str, Output]) -> float:
    """Which part of the shortest window lies in all the others, 0 to 1."""
    windows = [window(output) for output in outputs.values()]
    shortest = min(end - start for start, end in windows)
    common = min(end for _, end in windows) - max(start for start, _ in windows)
    return max(common, 0.0) / shortest


def work_done(outputs: Mapping[str, Output]) -> str:
    """That each measured something, without an error."""
    require_no_error(outputs)
    rates = {name: each["measures"]["fma"]["tflops"] for name, each in outputs.items()}
    text = ", ".join(f"{name}: {rate:.2f} TFLOPS" for name, rate in rates.items())
    return require(all(rate > 0 for rate in rates.values()), text)


def pipe_directory(outputs: Mapping[str, Output]) -> str:
    """That each was told where the MPS daemon is, and finds its pipe there."""
    found = {name: output["mps"] for name, output in outputs.items()}
    for name, mps in found.items():
        if not mps["pipe_directory_set"]:
            raise CheckFailed(f"{name}: it is not set")
        if PIPE not in mps["pipes"]:
            raise CheckFailed(f"{name}: no {PIPE} in {mps['pipe_directory']}")
    return ", ".join({mps["pipe_directory"] for mps in found.values()})


def row(name: str, output: Output, **more: Any) -> dict[str, Any]:
    """One client in a table. TFLOPS, GB/s, µs, W, MHz."""
    measures = output["measures"]
    fma = measures["fma"]
    found = {"client": name, **more, "sm_count": output["device"]["sm_count"]}
    found |= {key: fma[key] for key in OF_FMA}
    found |= {key: (fma[key] or {}).get("median") for key in ("clock_mhz", "power_w")}
    if bandwidth := measures.get("bandwidth"):
        found["bandwidth_gb_s"] = bandwidth["median"]
    if latency := measures.get("latency"):
        found |= {"latency_p50_us": latency["p50"], "latency_p99_us": latency["p99"]}
    return found
