"""Module 4: two pods share a GPU through one claim and the MPS daemon that the driver runs for it;
a third, whose own claim names the same GPU, waits until they have ended."""

from components.check import Check
from components.lab_context import LabContext
from components.modules.registry import Module
from components.workload import BENCHMARK, INSPECT, ModuleNamespace, PodRun, skip_await

NAMESPACE = "dra-module4"
CHECK = "mps-sharing"
PROGRAMS = tuple(dict.fromkeys((*BENCHMARK, *INSPECT)))
SHARING = ("shared-1", "shared-2")


def build(lab: LabContext) -> list[Check]:
    namespace = ModuleNamespace(lab, MODULE, {CHECK: PROGRAMS})
    objects = namespace.objects
    shared = namespace.claim(objects["ResourceClaim/shared"], "module4-shared-claim")
    # Where the driver's webhook refuses the first, there is no claim of the module at all.
    own = namespace.claim(objects["ResourceClaim/own"], "module4-own-claim", shared)
    run = PodRun(
        namespace,
        CHECK,
        driverNamespace=lab.driver.namespace,
        plugin=lab.driver.plugin,
        pods=list(SHARING),
        clusterOwned=lab.cluster.owned,
        webhook=lab.settings.webhook,
        devices=lab.nodes.devices,
    )
    sharing = [run.start(objects[f"Pod/{name}"], shared, shared, own) for name in SHARING]
    # The GPU must be the others' by then, or they would be the ones that wait.
    run.start(skip_await(objects["Pod/own"]), own, *sharing)
    return [run.verify()]


MODULE = Module(
    id="4",
    stack="module4",
    title="MPS sharing",
    needs=("2",),
    requires=frozenset({"driver", "mps"}),
    checks=(CHECK,),
    namespaces=(NAMESPACE,),
    shows="two pods, one claim: both on one GPU through MPS; a third waits for it",
    with_gpu="to see MPS at work",
    seconds=12,
    build=build,
)
