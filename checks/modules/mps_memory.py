"""Module 5: a client of MPS gets no more memory than its limit, and others do not suffer for it.

Parameters: kubeconfig, namespace, driverNamespace, plugin, uuid, sharePercentage, limitMib, under
and over (MiB that must and must not be granted), versions, devices. The pods are clients of the
claim `memory`: `neighbour` works while the others ask for memory.
"""

from typing import Any

from checks import clients, mps_daemon, pod_scenario
from checks.clients import LEAD_SECONDS, MEASURED_SMS, MOST_CV, expected_sms
from checks.pod_scenario import Output, Parameters, PodCheck
from checks.result import CheckFailed, require
from checks.steps import Step
from kube.client import Kube
from kube.devices import GPU, MOCKED

IN_DRIVER = mps_daemon.IN_DRIVER
PERMISSIONS = pod_scenario.PERMISSIONS
CLAIM = "memory"
TABLE = "mps-memory-limit"
NEIGHBOUR, ALLOCATOR, RAISER, ESCAPER = PODS = ("neighbour", "allocator", "raiser", "escaper")
BEHIND_SECONDS = 4.0
"""The others begin so long after the neighbour, when it has warmed up and measures, for 8 s."""
GRANTED, REFUSED = "granted", "CUDA_ERROR_OUT_OF_MEMORY"


class Memory(clients.ClientScenario):
    pods = PODS

    def __init__(self, kube: Kube, parameters: Parameters) -> None:
        super().__init__(kube, parameters)
        self.limit: int = parameters["limitMib"]
        self.under: list[int] = parameters["under"]
        self.over: list[int] = parameters["over"]
        self.share: int = parameters["sharePercentage"]
        self.limits = [
            clients.percentage_limit(self.share),
            f"set_default_device_pinned_mem_limit {self.uuid} {self.limit}M",
        ]

    def memory_asked(self) -> str:
        behind = dict.fromkeys((ALLOCATOR, RAISER, ESCAPER), LEAD_SECONDS + BEHIND_SECONDS)
        self.start_in({NEIGHBOUR: LEAD_SECONDS, **behind})
        outputs = {name: self.output(name) for name in PODS}
        self.outputs = outputs
        clients.require_no_error({name: outputs[name] for name in PODS if name != NEIGHBOUR})
        seen = {name: output for name, output in outputs.items() if "device" in output}
        clients.same_gpu(seen, self.uuid)
        clients.are_clients(seen)
        self.started = self.starts(outputs)
        return f"{len(outputs)} answers"

    def limits_read_back(self) -> str:
        output = self.outputs[ALLOCATOR]
        free, total = output["memory"]["free_mib"], output["memory"]["total_mib"]
        gpu, sms = output["device"]["name"], output["device"]["sm_count"]
        text = f"{free:.0f} MiB free of {total:.0f} MiB, {sms} SMs at {self.share} %"
        least, most = 0, sms
        if gpu in MEASURED_SMS:
            least, most = expected_sms(gpu, self.share, MEASURED_SMS[gpu][100])
        return require(free <= self.limit and least <= sms <= most, text)

    def results(self, name: str, sizes: list[int], expected: str) -> str:
        """That each of these sizes was granted, or refused, as expected."""
        found = {each["mib"]: each["result"] for each in self.outputs[name]["allocations"]}
        text = ", ".join(f"{size} MiB: {found.get(size, 'not tried')}" for size in sizes)
        if any(found.get(size) != expected for size in sizes):
            raise CheckFailed(f"{name}: {text}")
        return text

    def neighbour_unharmed(self) -> str:
        """That the others asked while it measured, and that it shows nothing of it."""
        output = self.outputs[NEIGHBOUR]
        clients.require_no_error({NEIGHBOUR: output})
        start, end = clients.window(output)
        others = [self.outputs[name].get("allocations", []) for name in PODS[1:]]
        moments = [each["at"] for allocations in others for each in allocations]
        meanwhile = [moment for moment in moments if start <= moment <= end]
        fma = output["measures"]["fma"]
        text = (
            f"{len(meanwhile)} of {len(moments)} requests came while it measured; "
            f"{fma['median']:.2f} TFLOPS, variation {fma['cv']:.2%}"
        )
        return require(bool(moments) and meanwhile == moments and fma["cv"] <= MOST_CV, text)

    def limits_not_raised(self) -> str:
        results = self.results(RAISER, self.over, REFUSED)
        output = self.outputs[RAISER]
        sms, free = output["device"]["sm_count"], output["memory"]["free_mib"]
        text = f"{sms} SMs, {free:.0f} MiB free, {results} (asked: {asked_of_mps(output)})"
        most = self.outputs[ALLOCATOR]["device"]["sm_count"]
        return require(sms <= most and free <= self.limit, text)

    def limit_not_dropped(self) -> str:
        output = self.outputs[ESCAPER]
        asked = output["environment"].get("CUDA_MPS_PINNED_DEVICE_MEM_LIMIT", "nothing")
        try:
            return f"{self.results(ESCAPER, self.over[1:], REFUSED)} (asked: {asked})"
        except CheckFailed as error:
            free = output["memory"]["free_mib"]
            raise CheckFailed(
                f"CUDA_MPS_PINNED_DEVICE_MEM_LIMIT={asked} drops the memory limit: {free:.0f} MiB "
                f"free; {error}; {output['device']['sm_count']} SMs as before"
            ) from error

    def table(self) -> dict[str, Any]:
        """What each client asked for and got; nothing where nothing was measured."""
        outputs = {name: each for name, each in self.outputs.items() if "allocations" in each}
        if not outputs:
            return {}
        rows = [
            {
                "client": name,
                "limit_mib": self.limit,
                "asked_mib": allocation["mib"],
                "result": allocation["result"],
                "free_mib": output["memory"]["free_mib"],
                "sm_count": output["device"]["sm_count"],
                "asked_of_mps": asked_of_mps(output),
            }
            for name, output in outputs.items()
            for allocation in output["allocations"]
        ]
        table = self.benchmark(TABLE, "MiB", rows, next(iter(outputs.values())))
        if "fma" in outputs.get(NEIGHBOUR, {}).get("measures", {}):
            table["neighbour"] = clients.row(NEIGHBOUR, outputs[NEIGHBOUR])
        return table


def asked_of_mps(output: Output) -> str:
    """What the client's environment asked of MPS, where it lies aside."""
    return ", ".join(
        f"{name}={value}"
        for name, value in output["environment"].items()
        if name.startswith("CUDA_MPS_") and not name.endswith("_DIRECTORY")
    )


STEPS: tuple[Step[Memory], ...] = (
    Step("memory-running", "the clients run", lambda s: s.running(*PODS), "Running"),
    Step("memory-allocated",
         "their claim, with a memory limit, has the GPU that it names, for all of them",
         lambda s: f"{s.allocated(CLAIM)} for {s.reserved(CLAIM, PODS)}",
         lambda s: f"{s.uuid} for {', '.join(sorted(PODS))}", needs="memory-running"),
    Step("memory-daemon", "the driver runs one MPS daemon for them, with both limits",
         lambda s: s.daemon_limits(CLAIM, s.limits), lambda s: ", ".join(s.limits),
         needs="memory-allocated", least=MOCKED),
    Step("memory-asked", "every client answered, as a client of MPS on that GPU",
         Memory.memory_asked, f"{len(PODS)} answers", needs="memory-allocated", least=GPU),
    Step("limits-read-back", "a client reads back its limits: free memory and SMs",
         Memory.limits_read_back,
         lambda s: f"at most {s.limit} MiB free, the SMs of {s.share} % where they are known",
         needs="memory-asked", least=GPU),
    Step("under-limit-served", "memory below the limit is granted",
         lambda s: s.results(ALLOCATOR, s.under, GRANTED), GRANTED,
         needs="memory-asked", least=GPU,
         remedy="CUDA itself takes some of the limit, the more the more SMs it has: raise "
                "mpsMemoryLimit or lower mpsSharePercentage"),
    Step("over-limit-refused", "memory above the limit is refused",
         lambda s: s.results(ALLOCATOR, s.over, REFUSED), REFUSED, needs="memory-asked", least=GPU),
    Step("neighbour-unharmed", "the neighbour goes on working while others are refused",
         Memory.neighbour_unharmed, "it measures meanwhile, and ends without an error",
         needs="memory-asked", least=GPU),
    Step("limits-not-raised",
         "a client whose environment asks for more gets neither memory nor SMs",
         Memory.limits_not_raised, f"as {ALLOCATOR}, whose environment asks nothing",
         needs="memory-asked", least=GPU),
    Step("limit-not-dropped",
         "a client that names a GPU which it does not see keeps its memory limit",
         Memory.limit_not_dropped, REFUSED, needs="memory-asked", least=GPU, failure="warning",
         remedy="known of MPS (seen with driver 580): its memory limit binds those who go along "
                "with it; let only pods that you trust share a claim"),
    Step("memory-ended", "the clients end, and nothing holds the GPU",
         lambda s: s.freed(PODS, CLAIM), "pending", needs="memory-running"),
    clients.released("memory-released", "memory-ended"),
)  # fmt: skip
CHECK = PodCheck(
    scenario=Memory,
    steps=STEPS,
    benchmarks={TABLE: Memory.table, "pod-start": lambda s: s.started},
)
run = CHECK.run
