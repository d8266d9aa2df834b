"""Module 5: MPS limits hold. A sweep of thread percentages, several clients at one percentage, and
a memory limit, one after the other on the same GPU; with `sweep` also a comparison of the ways to
share it."""

import copy
from typing import Any

import pulumi

from components import driver_profile, mps_daemon, program
from components.check import Check
from components.lab_context import MPS_NAMESPACE, LabContext
from components.manifests import Manifest
from components.modules.registry import Module
from components.mps_clients import granted_sizes, refused_sizes, set_limit, set_sizes
from components.workload import (
    BENCHMARK,
    SHARING,
    ModuleNamespace,
    PodRun,
    claim_for_gpu,
    pod_of,
)

NAMESPACE = "dra-module5"
PERCENTAGE, MEMORY, COMPARISON = "mps-percentage", "mps-memory", "sharing-comparison"
"""The checks. Each has a run, and so a ConfigMap, of its own."""
AS_CONFIGURED, BY_DAEMONSET, WITH_SHARES = "configured", "daemonset", "shares"
"""Parts of the comparison: ways that need a daemon, or a driver, with which others cannot be."""
DAEMON = {
    "daemonSet": "mps-comparison",
    "namespace": MPS_NAMESPACE,
    "pipeDirectory": mps_daemon.PIPE_DIRECTORY,
    "volumeClaim": mps_daemon.PIPE_CLAIM,
}
"""The lab's own MPS daemon, as the check needs to know it."""
CLIENTS = ("neighbour", "allocator", "raiser", "escaper")
"""The pods under the memory limit."""
JOB_MINUTES = 6
"""Longer than a Job may take (activeDeadlineSeconds), so that Kubernetes says what was wrong."""


def build(lab: LabContext) -> list[Check]:
    programs: dict[str, tuple[str, ...]] = {PERCENTAGE: BENCHMARK}
    if lab.settings.mps_memory_mib:
        programs[MEMORY] = BENCHMARK
    if lab.settings.sweep:
        programs[COMPARISON] = SHARING
    namespace = ModuleNamespace(lab, MODULE, programs)
    checks = [limit_threads(namespace)]
    if lab.settings.mps_memory_mib:
        checks.append(limit_memory(namespace, checks[-1]))
    if lab.settings.sweep:
        checks += compare_sharing(namespace, checks[-1])
    return checks


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


def compare_sharing(namespace: ModuleNamespace, before: Check) -> list[Check]:
    """The ways to share a GPU, when it is free again. The check makes the claims and pods of each
    measurement itself, as many as are still to do. Some ways exclude each other in the driver: the
    second check measures those for which it runs otherwise."""
    lab, objects = namespace.lab, namespace.objects
    apart = {BY_DAEMONSET: lab.runs_mps_daemon, WITH_SHARES: lab.changes_driver}
    daemon = DAEMON if lab.runs_mps_daemon else {}
    claim = claim_for_gpu(objects["ResourceClaim/sharing"], lab.target, lab.kind_of_driver)
    run = PodRun(
        namespace,
        COMPARISON,
        "sharing",
        stack=lab.settings.stack,
        sweep=lab.settings.sweep,
        minutes=lab.settings.sweep_minutes,
        parts=[AS_CONFIGURED, *(part for part, made in apart.items() if not made)],
        last=not any(apart.values()),
        withShares=lab.changes_driver,
        mpsDaemonset=daemon,
        claim=claim,
        pod=objects["Pod/sharing"],
        programs=program.digest(*namespace.files[COMPARISON]),
        gpuDriver=pulumi.Output.from_input(lab.nodes.facts).apply(gpu_driver),
        **_common(namespace),
    )
    checks = [run.verify(before)]
    if lab.runs_mps_daemon:
        checks.append(_compare_daemonset(run, checks[-1]))
    if lab.changes_driver:
        checks.append(_compare_with_shares(run, checks[-1]))
    return checks


def _compare_daemonset(compared: PodRun, before: Check) -> Check:
    """Its daemon limits nobody, and is at work only while this is measured."""
    namespace, lab = compared.namespace, compared.lab
    run = namespace.run_of(COMPARISON, BY_DAEMONSET)
    daemon = lab.mps_daemon.start(run, before, name=DAEMON["daemonSet"], threads=100)
    check = Check(
        namespace.component,
        run=run,
        parameters=compared.parameters
        | {"parts": [BY_DAEMONSET], "last": not lab.changes_driver, "daemon": mps_daemon.digest()},
        subjects=[compared.uid, daemon.uid],
        after=[daemon, *mps_daemon.pipe_volume(namespace)],
    )
    lab.gpu_users.append(check)
    return check


def _compare_with_shares(compared: PodRun, before: Check) -> Check:
    namespace, lab = compared.namespace, compared.lab
    run = namespace.run_of(COMPARISON, WITH_SHARES)
    opts = pulumi.ResourceOptions(parent=namespace.component)
    set_back = lab.settings.consumable_shares
    changed = driver_profile.run_with(
        lab, "driver-with-shares", opts, shares="unlimited", run=run.id, after=[before]
    )
    check = Check(
        namespace.component,
        run=run,
        parameters=compared.parameters | {"parts": [WITH_SHARES], "last": True},
        subjects=[compared.uid],
        after=[changed],
    )
    lab.gpu_users.append(
        driver_profile.run_with(
            lab, "driver-set-back", opts, shares=set_back, run=run.id, after=[check]
        )
    )
    return check


def gpu_driver(node: dict[str, Any]) -> str:
    """Its version, "" where nobody has asked."""
    return str(node.get("driverVersion", ""))


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
    checks=(PERCENTAGE, MEMORY, COMPARISON),
    namespaces=(NAMESPACE,),
    settings=(
        "mpsPercentages",
        "mpsSharePercentage",
        "mpsClients",
        "mpsMemoryLimit",
        "sweep",
        "sweepMinutes",
    ),
    shows="thread percentages and a memory limit, measured, and whether they hold",
    with_gpu="to measure",
    seconds=23,
    build=build,
)
