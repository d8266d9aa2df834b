"""What settings demand of each other. Each rule raises SettingsError."""

from __future__ import annotations

from components.modules.registry import closure
from components.settings.model import Settings
from components.settings.setting import SettingsError
from components.simulated_gpus import gpu_uuid, node_names
from kube.quantity import too_much
from machine import kind_images


def require_simulated_target(settings: Settings) -> None:
    """On simulated nodes it is known which GPUs there will be."""
    known = [
        gpu_uuid(node, index)
        for node in node_names(settings.nodes)
        for index in range(settings.gpus_per_node)
    ]
    if settings.node == "simulated" and settings.target not in (None, *known):
        raise SettingsError("target", settings.target, f"allowed: {', '.join(known)}")


def require_simulated_memory(settings: Settings) -> None:
    """On simulated nodes it is known what the GPUs have; on real ones module 2 looks."""
    limit, clients = settings.mps_memory_mib, settings.mps_clients
    profile = settings.gpu_profile
    if settings.node == "simulated" and (problem := too_much(limit, clients, profile.memory_mib)):
        raise SettingsError(
            "mpsMemoryLimit", settings.mps_memory_limit, f"{problem} ({profile.product})"
        )


def require_mps(settings: Settings) -> None:
    wanted = [module.id for module in closure(settings.modules) if "mps" in module.requires]
    if settings.driver != "nvidia" and wanted:
        raise SettingsError(
            "driver", settings.driver, f"module {wanted[0]} shares a GPU by MPS: nvidia"
        )


def require_kind_image(settings: Settings) -> None:
    """What a Kind cluster can be, as far as it is known before anything is looked at."""
    if settings.cluster != "kind":
        return
    known = kind_images.DIGESTS
    if not settings.node_image and settings.kubernetes_version not in known:
        raise SettingsError(
            "kubernetesVersion",
            settings.kubernetes_version,
            f"kind has images of {', '.join(known)}; for another version set nodeImage",
        )
    for gate in settings.feature_gates:
        if problem := kind_images.unknown_gate(gate.partition("=")[0], settings.kubernetes_version):
            raise SettingsError("featureGates", gate, problem)


def require_kind_subsets(settings: Settings) -> None:
    if settings.cluster != "kind":
        return
    subsets, nodes = settings.gpu_subsets, settings.nodes
    gpus = settings.driver == "nvidia"
    needed = gpus and any("driver" in m.requires for m in closure(settings.modules))
    given = [index for subset in subsets for index in subset]
    problem = ""
    if subsets and not gpus:
        problem = "only with driver=nvidia: no node gets a GPU"
    elif subsets and len(subsets) != nodes:
        problem = f"one for each node: nodes is {nodes}"
    elif not subsets and nodes > 1 and needed:
        problem = f"with nodes={nodes} say which GPUs each has, as in 0,1"
    elif len({len(subset) for subset in subsets}) > 1:
        problem = "every node has as many GPUs as the others"
    elif len(set(given)) < len(given):
        problem = "a GPU belongs to one node"
    if problem:
        shown = ["+".join(map(str, subset)) for subset in subsets]
        raise SettingsError("gpuSubsets", shown, problem)


def require_existing(settings: Settings) -> None:
    """A cluster that others use too is never guessed, and never taken as a whole."""
    if settings.cluster != "existing":
        return
    if not settings.context:
        raise SettingsError(
            "context", "", "name the one to use; `kubectl config get-contexts` lists them"
        )
    uses_gpu = any(module.uses_gpu for module in closure(settings.modules))
    if uses_gpu and not settings.target:
        raise SettingsError(
            "target", "", "with cluster=existing name the one GPU that the lab may use, by its UUID"
        )


RULES = (
    require_simulated_target,
    require_simulated_memory,
    require_mps,
    require_kind_image,
    require_kind_subsets,
    require_existing,
)
