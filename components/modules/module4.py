"""Module 4: two pods share a GPU through one claim and the MPS daemon that the driver runs for it;
a third, whose own claim names the same GPU, waits until they have ended."""

from __future__ import annotations

from components import manifests
from components.check import Check
from components.lab_context import LabContext
from components.modules.registry import Module
from components.workload import BENCHMARK, INSPECT, ModuleNamespace, in_run, unawaited

NAMESPACE = "dra-module4"
CHECK = "mps-sharing"
PROGRAMS = tuple(dict.fromkeys((*BENCHMARK, *INSPECT)))
SHARING = ("shared-1", "shared-2")


def build(lab: LabContext) -> list[Check]:
    namespace = ModuleNamespace(lab, MODULE, {CHECK: PROGRAMS})
    component, objects = namespace.component, namespace.objects
    claims = [namespace.claim(name, f"module4-{name}-claim") for name in ("shared", "own")]
    parameters = {
        "kubeconfig": lab.cluster.kubeconfig,
        "namespace": NAMESPACE,
        "driverNamespace": lab.driver.namespace,
        "uuid": lab.target,
        "pods": list(SHARING),
        "simulated": lab.simulated,
    }
    run = namespace.run(CHECK, parameters)
    pods = [
        manifests.create(
            in_run(objects[f"Pod/{name}"], run, claims[0]),
            f"module4-{name}",
            lab.objects(component, *claims),
        )
        for name in SHARING
    ]
    # The GPU must be the others' by then, or they would be the ones that wait.
    waiting = manifests.create(
        in_run(unawaited(objects["Pod/own"]), run, claims[1]),
        "module4-own",
        lab.objects(component, *pods),
    )
    return [namespace.verified(CHECK, parameters, [*pods, waiting])]


MODULE = Module(
    id="4",
    stack="module4",
    title="MPS sharing",
    needs=("2",),
    requires=frozenset({"driver", "mps"}),
    namespaces=(NAMESPACE,),
    shows="two pods, one claim: both on one GPU through MPS; a third waits for it",
    with_gpu="to see MPS at work",
    seconds=12,
    build=build,
)
