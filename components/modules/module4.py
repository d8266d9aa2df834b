"""Module 4: two pods share a GPU through one claim and the MPS daemon that the driver runs for it;
a third, whose own claim names the same GPU, waits until they have ended."""

from __future__ import annotations

import pulumi

from components import manifests
from components.check import Check, CheckArgs
from components.site import Site
from components.workload import BENCHMARK, INSPECT, Opening, in_run, observed, unawaited

FOLDER = "module4"
NAMESPACE = "dra-module4"
CHECK = "mps-sharing"
PROGRAMS = tuple(dict.fromkeys((*BENCHMARK, *INSPECT)))
SHARING = ("shared-1", "shared-2")


def build(site: Site) -> list[Check]:
    opened = Opening(site, "4", NAMESPACE, {CHECK: PROGRAMS})
    chapter, objects = opened.chapter, opened.objects
    claims = [opened.claim(name, f"module4-{name}-claim") for name in ("shared", "own")]
    parameters = {
        "kubeconfig": site.cluster.kubeconfig,
        "namespace": NAMESPACE,
        "driverNamespace": site.driver.namespace,
        "uuid": site.target,
        "pods": list(SHARING),
        "simulated": site.simulated,
    }
    run = opened.run(CHECK, parameters)
    pods = [
        manifests.create(
            in_run(objects[f"Pod/{name}"], run, claims[0]),
            f"module4-{name}",
            site.objects(chapter, *claims),
        )
        for name in SHARING
    ]
    # The GPU must be the others' by then, or they would be the ones that wait.
    waiting = manifests.create(
        in_run(unawaited(objects["Pod/own"]), run, claims[1]),
        "module4-own",
        site.objects(chapter, *pods),
    )
    sharing = Check(
        CheckArgs(
            program=CHECK,
            module="4",
            parameters=parameters,
            subjects=[manifests.uid(pod) for pod in (*pods, waiting)],
            manifests=observed(FOLDER, PROGRAMS),
            needs=site.needed_by("4"),
            life=site.cluster.life,
        ),
        pulumi.ResourceOptions(parent=chapter, depends_on=[*pods, waiting]),
    )
    site.gpu_users.append(sharing)
    return [sharing]
