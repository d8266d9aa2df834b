"""Module 5: MPS limits hold. A sweep of thread percentages, several clients at one percentage, and
a memory limit, one after the other on the same GPU."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pulumi

from components import manifests
from components.check import Check
from components.lab_context import LabContext
from components.modules.registry import Module
from components.workload import (
    BENCHMARK,
    ModuleNamespace,
    in_run,
    limited,
    naming,
    renamed,
)

NAMESPACE = "dra-module5"
PERCENTAGE, MEMORY = "mps-percentage", "mps-memory"
"""The two checks. Each has a run, and so a ConfigMap, of its own."""
CLIENTS = ("neighbour", "allocator", "raiser", "escaper")
"""The pods under the memory limit."""
JOB_MINUTES = 6
"""Longer than a Job may take (activeDeadlineSeconds), so that Kubernetes says what was wrong."""


def build(lab: LabContext) -> list[Check]:
    limits = Limits(lab, MODULE, dict.fromkeys((PERCENTAGE, MEMORY), BENCHMARK))
    percentage = limits.percentage()
    if not lab.settings.mps_memory_mib:
        return [percentage]
    return [percentage, limits.memory(percentage)]


def under(limit_mib: int) -> list[int]:
    """Sizes in MiB that a client must get; CUDA's context counts against its limit too."""
    return [limit_mib // 4, limit_mib // 2]


def over(limit_mib: int) -> list[int]:
    """Sizes in MiB that a client must not get."""
    return [limit_mib * 1100 // 1024, limit_mib * 2]


def allocating(pod: manifests.Manifest, sizes: Sequence[int]) -> manifests.Manifest:
    """The pod that tries these sizes, in MiB."""
    changed = copy.deepcopy(pod)
    for container in changed["spec"]["containers"]:
        command = container["command"]
        first = command.index("--allocate") + 1
        last = next(i for i in range(first, len(command)) if command[i].startswith("--"))
        command[first:last] = [str(size) for size in sizes]
    return changed


def asking(pod: manifests.Manifest, limit: str) -> manifests.Manifest:
    """The pod whose environment asks MPS for that memory limit."""
    changed = copy.deepcopy(pod)
    for container in changed["spec"]["containers"]:
        for variable in container["env"]:
            if variable["name"] == "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT":
                variable["value"] = limit
    return changed


class Limits(ModuleNamespace):
    def limited_claim(
        self, name: str, percentage: int, memory: str | None = None, like: str = ""
    ) -> Any:
        """The claim of the manifests, or one like it under another name."""
        claim = copy.deepcopy(self.objects[f"ResourceClaim/{like or name}"])
        claim["metadata"]["name"] = name
        named = naming(limited(claim, percentage, memory), self.lab.target, self.lab.kind_of_driver)
        return manifests.create(named, f"module5-{name}-claim", self.inside)

    def percentage(self) -> Check:
        """The sweep, then the clients that share."""
        settings = self.lab.settings
        sharing = [f"share-{number + 1}" for number in range(settings.mps_clients)]
        parameters = self.parameters(
            percentages=list(settings.mps_percentages),
            sharePercentage=settings.mps_share_percentage,
            pods=sharing,
        )
        run = self.run(PERCENTAGE, parameters, "percentage")
        jobs: list[Any] = []
        for percentage in settings.mps_percentages:
            name = f"percentage-{percentage}"
            claim = self.limited_claim(name, percentage, like="percentage-100")
            job = renamed(self.objects["Job/percentage-100"], name, claim=name)
            minutes = pulumi.CustomTimeouts(create=f"{JOB_MINUTES}m")
            opts = pulumi.ResourceOptions.merge(
                self.lab.objects(self.component, claim, *jobs[-1:]),
                pulumi.ResourceOptions(custom_timeouts=minutes),
            )
            jobs.append(manifests.create(in_run(job, run, claim), f"module5-{name}", opts))
        claim = self.limited_claim("share", settings.mps_share_percentage)
        pods = [
            manifests.create(
                in_run(renamed(self.objects["Pod/share-1"], name, claim="share"), run, claim),
                f"module5-{name}",
                self.lab.objects(self.component, claim, *jobs[-1:]),
            )
            for name in sharing
        ]
        return self.verified(PERCENTAGE, parameters, [*jobs, *pods])

    def memory(self, percentage: Check) -> Check:
        """Clients under a memory limit, when the GPU is free again."""
        settings = self.lab.settings
        limit = settings.mps_memory_mib
        share = settings.mps_share_percentage
        parameters = self.parameters(
            sharePercentage=share, limitMib=limit, under=under(limit), over=over(limit)
        )
        run = self.run(MEMORY, parameters, "memory")
        claim = self.limited_claim("memory", share, settings.mps_memory_limit)
        pod = {name: self.objects[f"Pod/{name}"] for name in CLIENTS}
        pod["allocator"] = allocating(pod["allocator"], [*under(limit), *over(limit)])
        pod["raiser"] = asking(allocating(pod["raiser"], over(limit)), f"0={64 * limit}M")
        beyond = f"0={2 * limit}M,1={4 * limit}M"
        pod["escaper"] = asking(allocating(pod["escaper"], over(limit)[1:]), beyond)
        pods = [
            manifests.create(
                in_run(pod[name], run, claim),
                f"module5-{name}",
                self.lab.objects(self.component, claim, percentage),
            )
            for name in CLIENTS
        ]
        return self.verified(MEMORY, parameters, pods)

    def parameters(self, **more: Any) -> dict[str, Any]:
        """What a check is told beside what both are told."""
        settings = self.lab.settings
        return more | {
            "kubeconfig": self.lab.cluster.kubeconfig,
            "namespace": NAMESPACE,
            "uuid": self.lab.target,
            "simulated": self.lab.simulated,
            "versions": {
                "kubernetes": settings.kubernetes_version,
                "dra_driver": settings.driver_version,
            },
        }


MODULE = Module(
    id="5",
    stack="module5",
    title="MPS limits",
    needs=("4",),
    requires=frozenset({"driver", "mps"}),
    namespaces=(NAMESPACE,),
    settings=("mpsPercentages", "mpsSharePercentage", "mpsClients", "mpsMemoryLimit"),
    shows="thread percentages and a memory limit, measured, and whether they hold",
    with_gpu="to measure",
    seconds=23,
    build=build,
)
