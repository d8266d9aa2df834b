"""Module 5: MPS limits hold. A sweep of thread percentages, several clients at one percentage, and
a memory limit, one after the other on the same GPU."""

import copy
from typing import Any

from components.check import Check
from components.lab_context import LabContext
from components.manifests import Manifest
from components.modules.registry import Module
from components.mps_clients import granted_sizes, refused_sizes, set_limit, set_sizes
from components.workload import BENCHMARK, ModuleNamespace, PodRun, pod_of

NAMESPACE = "dra-module5"
PERCENTAGE, MEMORY = "mps-percentage", "mps-memory"
"""The two checks. Each has a run, and so a ConfigMap, of its own."""
CLIENTS = ("neighbour", "allocator", "raiser", "escaper")
"""The pods under the memory limit."""
JOB_MINUTES = 6
"""Longer than a Job may take (activeDeadlineSeconds), so that Kubernetes says what was wrong."""


def build(lab: LabContext) -> list[Check]:
    namespace = ModuleNamespace(lab, MODULE, dict.fromkeys((PERCENTAGE, MEMORY), BENCHMARK))
    percentage = limit_threads(namespace)
    if not lab.settings.mps_memory_mib:
        return [percentage]
    return [percentage, limit_memory(namespace, percentage)]


def limit_threads(namespace: ModuleNamespace) -> Check:
    """The sweep, then the clients that share."""
    settings, objects = namespace.lab.settings, namespace.objects
    percentages, share = list(settings.mps_percentages), settings.mps_share_percentage
    sharing = [f"share-{number + 1}" for number in range(settings.mps_clients)]
    parameters = {"percentages": percentages, "sharePercentage": share, "pods": sharing}
    run = PodRun(namespace, PERCENTAGE, "percentage", **parameters, **_common(namespace))
    for percentage in percentages:
        name = f"percentage-{percentage}"
        manifest = limit_claim(objects["ResourceClaim/percentage-100"], percentage, name=name)
        claim = namespace.claim(manifest, f"module5-{name}-claim")
        job = rename_pod(objects["Job/percentage-100"], name, claim=name)
        run.start(job, claim, claim, *run.pods[-1:], minutes=JOB_MINUTES)
    manifest = limit_claim(objects["ResourceClaim/share"], share)
    claim = namespace.claim(manifest, "module5-share-claim")
    last_job = run.pods[-1]
    for name in sharing:
        run.start(rename_pod(objects["Pod/share-1"], name, claim="share"), claim, claim, last_job)
    return run.verify()


def limit_memory(namespace: ModuleNamespace, percentage: Check) -> Check:
    """Clients under a memory limit, when the GPU is free again."""
    settings, objects = namespace.lab.settings, namespace.objects
    limit, share = settings.mps_memory_mib, settings.mps_share_percentage
    small, large = granted_sizes(limit), refused_sizes(limit)
    parameters = {"sharePercentage": share, "limitMib": limit, "under": small, "over": large}
    run = PodRun(namespace, MEMORY, "memory", **parameters, **_common(namespace))
    manifest = limit_claim(objects["ResourceClaim/memory"], share, settings.mps_memory_limit)
    claim = namespace.claim(manifest, "module5-memory-claim")
    neighbour, allocator, raiser, escaper = (objects[f"Pod/{name}"] for name in CLIENTS)
    for client in (
        neighbour,
        set_sizes(allocator, [*small, *large]),
        set_limit(set_sizes(raiser, large), f"0={64 * limit}M"),
        set_limit(set_sizes(escaper, large[1:]), f"0={2 * limit}M,1={4 * limit}M"),
    ):
        run.start(client, claim, claim, percentage)
    return run.verify()


def _common(namespace: ModuleNamespace) -> dict[str, Any]:
    lab = namespace.lab
    versions = {
        "kubernetes": lab.settings.kubernetes_version,
        "dra_driver": lab.settings.driver_version,
    }
    return {
        "clusterOwned": lab.cluster.owned,
        "devices": lab.nodes.devices,
        "driverNamespace": lab.driver.namespace,
        "plugin": lab.driver.plugin,
        "versions": versions,
    }


def limit_claim(
    claim: Manifest, percentage: int, memory: str | None = None, name: str = ""
) -> Manifest:
    """The claim with these limits for every client of MPS. memory: a quantity, such as 1Gi; name:
    of the claim, "" for the one that it has."""
    changed = copy.deepcopy(claim)
    for config in changed["spec"]["devices"]["config"]:
        limits = config["opaque"]["parameters"]["sharing"]["mpsConfig"]
        limits["defaultActiveThreadPercentage"] = percentage
        if memory is not None:
            limits["defaultPinnedDeviceMemoryLimit"] = memory
    changed["metadata"]["name"] = name or claim["metadata"]["name"]
    return changed


def rename_pod(manifest: Manifest, name: str, claim: str) -> Manifest:
    """The pod or Job under another name, with another claim."""
    changed = copy.deepcopy(manifest)
    changed["metadata"]["name"] = name
    for reference in pod_of(changed)["spec"]["resourceClaims"]:
        reference["resourceClaimName"] = claim
    return changed


MODULE = Module(
    id="5",
    stack="module5",
    title="MPS limits",
    needs=("4",),
    requires=frozenset({"driver", "mps"}),
    checks=(PERCENTAGE, MEMORY),
    namespaces=(NAMESPACE,),
    settings=("mpsPercentages", "mpsSharePercentage", "mpsClients", "mpsMemoryLimit"),
    shows="thread percentages and a memory limit, measured, and whether they hold",
    with_gpu="to measure",
    seconds=23,
    build=build,
)
