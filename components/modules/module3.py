"""Module 3: two claims name the same GPU; pod-1 owns it until it ends, then pod-2 gets it."""

from __future__ import annotations

import copy
from pathlib import Path

import pulumi
import pulumi_kubernetes as k8s

from components import manifests, runs
from components.check import Check, CheckArgs, digest_of
from components.site import Chapter, Site

FOLDER = "module3"
HOLD = Path("workloads/hold.py")
CHECK = "exclusive"
OBSERVED = (manifests.MANIFESTS / FOLDER, HOLD)


def build(site: Site) -> list[Check]:
    chapter = Chapter("3")
    objects = manifests.load(FOLDER)
    namespace = manifests.create(
        objects["Namespace/dra-module3"], "module3", site.objects(chapter, site.driver.ready)
    )
    inside = site.objects(chapter, namespace)
    claims = [
        manifests.create(
            naming(objects[f"ResourceClaim/{name}"], site.target), f"module3-{name}", inside
        )
        for name in ("claim-1", "claim-2")
    ]
    workshop = k8s.core.v1.ConfigMap(
        "module3-workshop",
        metadata={"name": "workshop", "namespace": "dra-module3"},
        data={
            HOLD.name: HOLD.read_text(),
            "run": runs.run_id(site.settings.stack, CHECK, site.cluster.life, digest_of(OBSERVED)),
        },
        opts=inside,
    )
    run = manifests.uid(workshop)
    pod_1 = manifests.create(
        in_run(objects["Pod/pod-1"], run), "module3-pod-1", site.objects(chapter, *claims)
    )
    pod_2 = manifests.create(
        in_run(unawaited(objects["Pod/pod-2"]), run),
        "module3-pod-2",
        site.objects(chapter, *claims, pod_1),
    )
    exclusive = Check(
        CheckArgs(
            program=CHECK,
            module="3",
            parameters={
                "kubeconfig": site.cluster.kubeconfig,
                "namespace": "dra-module3",
                "uuid": site.target,
                "simulated": site.simulated,
            },
            subjects=[manifests.uid(pod_1), manifests.uid(pod_2)],
            manifests=OBSERVED,
            needs=site.needed_by("3"),
            life=site.cluster.life,
        ),
        pulumi.ResourceOptions(parent=chapter, depends_on=[pod_1, pod_2]),
    )
    return [exclusive]


def naming(claim: manifests.Manifest, uuid: str) -> manifests.Manifest:
    """The claim for the GPU with that UUID."""
    named = copy.deepcopy(claim)
    selector = f'device.attributes["gpu.nvidia.com"].uuid == "{uuid}"'
    for request in named["spec"]["devices"]["requests"]:
        request["exactly"]["selectors"] = [{"cel": {"expression": selector}}]
    return named


def in_run(pod: manifests.Manifest, run: pulumi.Output[str]) -> manifests.Manifest:
    """The pod of a run: a new run makes it anew, as does a new workload program.

    `run` is the uid of the ConfigMap that the pod mounts and that holds the run id. An environment
    variable cannot change in a living pod, so replacing the ConfigMap replaces all its pods, and
    deletes them before it. Its uid is not known before that, so that a preview does not ask the
    API server whether the old pod could be changed into the new one, which it refuses.
    """
    running = copy.deepcopy(pod)
    for container in running["spec"]["containers"]:
        container.setdefault("env", []).append({"name": "DRA_WORKSHOP_RUN", "value": run})
    return running


def unawaited(pod: manifests.Manifest) -> manifests.Manifest:
    """The pod that is meant to wait: Pulumi must not wait with it."""
    waiting = copy.deepcopy(pod)
    waiting["metadata"].setdefault("annotations", {})["pulumi.com/skipAwait"] = "true"
    return waiting
