"""Module 3: two claims name the same GPU; pod-1 owns it until it ends, then pod-2 gets it.

A third pod has no claim, and so must see no GPU.
"""

from __future__ import annotations

import pulumi

from components import manifests
from components.check import Check, CheckArgs
from components.site import Site
from components.workload import INSPECT, Opening, in_run, observed, unawaited

FOLDER = "module3"
NAMESPACE = "dra-module3"
CHECK = "exclusive"


def build(site: Site) -> list[Check]:
    opened = Opening(site, "3", NAMESPACE, {CHECK: INSPECT})
    chapter, objects = opened.chapter, opened.objects
    claims = [opened.claim(name, f"module3-{name}") for name in ("claim-1", "claim-2")]
    parameters = {
        "kubeconfig": site.cluster.kubeconfig,
        "namespace": NAMESPACE,
        "uuid": site.target,
        "driver": site.kind_of_driver.domain,
        "devices": site.devices,
    }
    run = opened.run(CHECK, parameters)
    unclaimed = manifests.create(
        in_run(objects["Pod/unclaimed"], run), "module3-unclaimed", opened.inside
    )
    pod_1 = manifests.create(
        in_run(objects["Pod/pod-1"], run, claims[0]),
        "module3-pod-1",
        site.objects(chapter, *claims),
    )
    pod_2 = manifests.create(
        in_run(unawaited(objects["Pod/pod-2"]), run, claims[-1]),
        "module3-pod-2",
        site.objects(chapter, *claims, pod_1),
    )
    pods = [pod_1, pod_2, unclaimed]
    exclusive = Check(
        CheckArgs(
            program=CHECK,
            module="3",
            parameters=parameters,
            subjects=[manifests.uid(pod) for pod in pods],
            manifests=observed(FOLDER, INSPECT),
            needs=site.needed_by("3"),
            life=site.cluster.life,
        ),
        pulumi.ResourceOptions(parent=chapter, depends_on=pods),
    )
    site.gpu_users.append(exclusive)
    return [exclusive]
