"""Module 5: a thread percentage buys so many SMs and no more, alone and beside others.

Parameters: kubeconfig, namespace, driverNamespace, plugin, uuid, percentages (of the sweep, each
with a claim and a Job percentage-N), sharePercentage and pods (clients of the claim `share`),
versions, devices.
"""

from datetime import datetime
from typing import Any

from checks import clients, mps_daemon, pod_scenario
from checks.clients import LATE, LEAST_IN_COMMON, MOST_CV
from checks.pod_scenario import SECONDS, Output, Parameters, PodCheck
from checks.result import CheckFailed, require
from checks.steps import Step
from kube.client import Kube
from kube.conditions import condition
from kube.devices import GPU, MOCKED
from kube.permissions import on
from kube.pods import describe

SHARE = "share"
TABLE = "mps-thread-percentage"
JOB_NAME = "batch.kubernetes.io/job-name"
"""The label by which the Job controller marks a Job's pods."""
MOST_UNEVEN = 0.02
"""Between the steps of the sweep: TFLOPS of one SM at the same clock."""
LEAST_JAIN = 0.999
IN_DRIVER = mps_daemon.IN_DRIVER
PERMISSIONS = (*pod_scenario.PERMISSIONS, *on("jobs", "list", "watch", group="batch"))


class Percentages(clients.ClientScenario):
    """sweep: percentage → what its program printed; outputs: of the pods that share."""

    def __init__(self, kube: Kube, parameters: Parameters) -> None:
        super().__init__(kube, parameters)
        self.percentages: list[int] = parameters["percentages"]
        self.share: int = parameters["sharePercentage"]
        self.pods = tuple(parameters["pods"])
        self.sweep: dict[int, Output] = {}
        self.job_pods: dict[int, str] = {}

    # --- the sweep --------------------------------------------------------------------------------

    def sweep_completed(self) -> str:
        """That every Job completed, and none began before the one before it had."""
        ended: datetime | None = None
        for percentage in self.percentages:
            name = claim_of(percentage)
            jobs = self.kube.wait(
                self.kube.batch.list_namespaced_job,
                lambda found: any(condition(job, "Complete") for job in found),
                SECONDS,
                what=f"Job {self.namespace}/{name}",
                namespace=self.namespace,
                field_selector=f"metadata.name={name}",
            )
            if not jobs or not condition(jobs[0], "Complete"):
                raise CheckFailed(f"Job {name} " + ("did not complete" if jobs else "is not there"))
            if ended is not None and jobs[0].status.start_time < ended:
                raise CheckFailed(f"Job {name} began before the one before it had ended")
            ended = jobs[0].status.completion_time
            self.job_pods[percentage] = self.pod_of(name)
        return self.each_percentage()

    def each_percentage(self) -> str:
        return ", ".join(f"{percentage} %" for percentage in self.percentages)

    def pod_of(self, job: str) -> str:
        lister, selector = self.kube.core.list_namespaced_pod, f"{JOB_NAME}={job}"
        pods = self.kube.get(lister, namespace=self.namespace, label_selector=selector).items
        if [pod.status.phase for pod in pods] != ["Succeeded"]:
            found = ", ".join(map(describe, pods)) or "none"
            raise CheckFailed(f"pods of Job {job}: {found}")
        return str(pods[0].metadata.name)

    def sweep_measured(self) -> str:
        sweep = {percentage: self.output(pod) for percentage, pod in self.job_pods.items()}
        self.require_clients({f"{percentage} %": output for percentage, output in sweep.items()})
        self.sweep = sweep
        return f"{len(sweep)} results"

    def expected_sms(self, percentage: int) -> tuple[int, int]:
        whole = self.sweep[100]["device"]  # the settings have 100 % in every sweep
        return clients.expected_sms(whole["name"], percentage, whole["sm_count"])

    def expected_counts(self) -> str:
        if not self.sweep:
            return "what MPS gives for each percentage"
        expected = {each: bounds_text(self.expected_sms(each)) for each in self.percentages}
        return ", ".join(f"{percentage} %: {count}" for percentage, count in expected.items())

    def sm_counts(self) -> str:
        counts = {each: output["device"]["sm_count"] for each, output in self.sweep.items()}
        text = ", ".join(f"{percentage} %: {count}" for percentage, count in counts.items())
        for percentage, count in counts.items():
            least, most = self.expected_sms(percentage)
            if not least <= count <= most:
                raise CheckFailed(text)
        smallest, count, all_sms = min(counts), counts[min(counts)], counts[100]
        if (part := count / all_sms) > smallest / 100:
            text += f"; {smallest} % buys {count} SMs of {all_sms}, which is {part:.1%}"
        return text

    def rate_per_sm(self) -> str:
        measured = [output["measures"]["fma"] for output in self.sweep.values()]
        # Of one SM at 1 MHz, so that limits of SMs can be compared whatever the clock was.
        rates = [fma["tflops_per_sm"] / fma["peak_at_mhz"] for fma in measured]
        spread = (max(rates) - min(rates)) / max(rates)
        fractions = [fma["fraction_of_peak"] for fma in measured]
        text = f"within {spread:.2%}"
        if all(fractions):
            text += f", {min(fractions):.1%} to {max(fractions):.1%} of the peak of these SMs"
        return require(spread <= MOST_UNEVEN, text)

    # --- several at a time ------------------------------------------------------------------------

    def share_measured(self) -> str:
        self.begin(self.pods)
        outputs = {name: self.output(name) for name in self.pods}
        self.require_clients(outputs)
        self.outputs = outputs
        least, most = bounds = self.expected_sms(self.share)
        counts = {name: each["device"]["sm_count"] for name, each in outputs.items()}
        text = ", ".join(f"{name}: {count} SMs" for name, count in counts.items())
        if not all(least <= count <= most for count in counts.values()):
            raise CheckFailed(f"{text}; expected {bounds_text(bounds)} each")
        return text

    def rates(self) -> list[float]:
        return [rate(output) for output in self.outputs.values()]

    def jain(self) -> float:
        """Jain's fairness index: 1 if all rates are equal, 1/n if one client has all."""
        rates = self.rates()
        return sum(rates) ** 2 / (len(rates) * sum(rate**2 for rate in rates))

    def share_fair(self) -> str:
        rates = ", ".join(f"{rate:.2f}" for rate in self.rates())
        return require(self.jain() >= LEAST_JAIN, f"{self.jain():.6f}: {rates} TFLOPS")

    def share_steady(self) -> str:
        variations = {name: each["measures"]["fma"]["cv"] for name, each in self.outputs.items()}
        text = ", ".join(f"{name}: {cv:.2%}" for name, cv in variations.items())
        return require(max(variations.values()) <= MOST_CV, text)

    def start_latency(self) -> str:
        self.begin(self.pods)
        pods = (*self.job_pods.values(), *self.pods)
        return self.started_in_time({name: self.output(name) for name in pods})

    def table(self) -> dict[str, Any]:
        """What was measured, as far as it went; nothing where nothing was."""
        if not self.sweep:
            return {}
        rows = [
            clients.row(claim_of(each), output, percentage=each, clients=1)
            for each, output in self.sweep.items()
        ]
        solo = self.sweep.get(self.share)
        for name, output in self.outputs.items():
            row = clients.row(name, output, percentage=self.share, clients=len(self.pods))
            rows.append(row | {"slowdown": rate(solo) / rate(output) if solo else None})
        table = self.benchmark(TABLE, "TFLOPS", rows, self.sweep[100])
        if self.outputs:
            table |= {"aggregate": sum(self.rates()), "jain": self.jain()}
            table["in_common"] = clients.in_common(self.outputs)
        return table


def claim_of(percentage: int) -> str:
    """The name of its claim and of its Job."""
    return f"percentage-{percentage}"


def bounds_text(bounds: tuple[int, int]) -> str:
    least, most = bounds
    return str(least) if least == most else f"{least} to {most}"


def rate(output: Output) -> float:
    """TFLOPS."""
    return float(output["measures"]["fma"]["median"])


STEPS: tuple[Step[Percentages], ...] = (
    Step("sweep-completed", "a workload ran to its end with each percentage, one after the other",
         Percentages.sweep_completed, Percentages.each_percentage),
    Step("sweep-released", "their claims hold nothing any more",
         lambda s: s.unallocated(*map(claim_of, s.percentages)), "pending",
         needs="sweep-completed"),
    Step("share-running", lambda s: f"{len(s.pods)} pods with one claim of {s.share} % run",
         lambda s: s.running(*s.pods), "Running"),
    Step("share-allocated", "the claim has the GPU that it names, for all of them",
         lambda s: f"{s.allocated(SHARE)} for {s.reserved(SHARE, s.pods)}",
         lambda s: f"{s.uuid} for {', '.join(s.pods)}", needs="share-running"),
    Step("share-daemon", "the driver runs one MPS daemon for them, with their thread percentage",
         lambda s: s.daemon_limits(SHARE, [clients.percentage_limit(s.share)]),
         lambda s: clients.percentage_limit(s.share), needs="share-allocated", least=MOCKED),
    Step("sweep-measured", "every step of the sweep measured, as a client of MPS on that GPU",
         Percentages.sweep_measured, lambda s: f"{len(s.percentages)} results",
         needs="sweep-completed", least=GPU),
    Step("sm-counts", "each percentage gives the SMs that it should",
         Percentages.sm_counts, Percentages.expected_counts, needs="sweep-measured", least=GPU),
    Step("rate-per-sm", "one SM does as much at every percentage, at the same clock",
         Percentages.rate_per_sm, f"within {MOST_UNEVEN:.0%}", needs="sweep-measured", least=GPU),
    Step("share-measured", "the clients measured, each with the SMs of its percentage",
         Percentages.share_measured, lambda s: f"{len(s.pods)} clients with the SMs of {s.share} %",
         needs="share-allocated sweep-measured", least=GPU),
    Step("share-overlaps", "they worked side by side",
         Percentages.overlapped, f"at least {LEAST_IN_COMMON:.0%} of the time",
         needs="share-measured", least=GPU),
    Step("share-fair", "none of them gets more than the others",
         Percentages.share_fair, f"Jain's index at least {LEAST_JAIN}",
         needs="share-measured", least=GPU),
    Step("share-steady", "what each gets does not vary",
         Percentages.share_steady, f"coefficient of variation at most {MOST_CV:.0%}",
         needs="share-measured", least=GPU),
    Step("start-latency", "pods ran soon after they had a node, without a repeated preparation",
         Percentages.start_latency, Percentages.in_time,
         needs=lambda s: "share-allocated sweep-"
                         + ("measured" if s.devices == GPU else "completed"),
         least=MOCKED, failure="warning", remedy=LATE),
    Step("share-ended", "the clients end, and nothing holds the GPU",
         lambda s: s.freed(s.pods, SHARE), "pending", needs="share-running"),
    clients.released("share-released", "share-ended"),
)  # fmt: skip
CHECK = PodCheck(
    scenario=Percentages,
    steps=STEPS,
    benchmarks={TABLE: Percentages.table, "pod-start": lambda s: s.started},
)
run = CHECK.run
