"""Module 3: two claims name the same GPU; pod-1 owns it until it ends, then pod-2 gets it.

A third pod has no claim, and so must see no GPU.
"""

from components.check import Check
from components.lab_context import LabContext
from components.modules.registry import Module
from components.workload import INSPECT, ModuleNamespace, PodRun, skip_await

NAMESPACE = "dra-module3"
CHECK = "exclusive"


def build(lab: LabContext) -> list[Check]:
    namespace = ModuleNamespace(lab, MODULE, {CHECK: INSPECT})
    objects = namespace.objects
    claims = [
        namespace.claim(objects[f"ResourceClaim/{name}"], f"module3-{name}")
        for name in ("claim-1", "claim-2")
    ]
    run = PodRun(namespace, CHECK, driver=lab.kind_of_driver.domain, devices=lab.nodes.devices)
    pod_1 = run.start(objects["Pod/pod-1"], claims[0], *claims)
    run.start(skip_await(objects["Pod/pod-2"]), claims[-1], *claims, pod_1)
    run.start(objects["Pod/unclaimed"], None, namespace.made)
    return [run.verify()]


MODULE = Module(
    id="3",
    stack="module3",
    title="Exclusive claims",
    needs=("2",),
    requires=frozenset({"driver"}),
    checks=(CHECK,),
    namespaces=(NAMESPACE,),
    shows="two claims for one GPU: the second waits until the first is released",
    seconds=11,
    build=build,
)
