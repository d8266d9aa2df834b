"""What settings demand of each other, where it is known before anything is looked at."""

from collections.abc import Iterator

from components.modules.registry import closure
from components.settings.model import Settings
from components.simulated_gpus import gpu_uuid, node_names
from kube.quantity import too_much
from machine import kind_images

Problem = tuple[str, object, str]
"""The key, its value, and what is allowed."""


def problems(settings: Settings) -> Iterator[Problem]:
    """Of these settings together; the first one is what to tell."""
    modules = closure(settings.modules)
    if settings.node == "simulated":
        ids = {module.id for module in modules}
        limited = "5" in ids or ("4" in ids and settings.mps != "driver")
        yield from _of_simulated_gpus(settings, limited=limited)
    shared = [module.id for module in modules if "mps" in module.requires]
    if settings.driver != "nvidia" and settings.gpus == "mocked":
        yield "gpus", settings.gpus, f"with driver={settings.driver}, whose devices are mocks: real"
    if settings.driver != "nvidia" and shared:
        yield "driver", settings.driver, f"module {shared[0]} shares a GPU by MPS: nvidia"
    if settings.consumable_shares:
        yield from _of_shares(settings, [module.id for module in modules], shared)
    if settings.cluster == "kind":
        yield from _of_kind_image(settings)
        needs_driver = any("driver" in module.requires for module in modules)
        if problem := _of_kind_subsets(settings, needs_driver):
            subsets = ["+".join(map(str, subset)) for subset in settings.gpu_subsets]
            yield "gpuSubsets", subsets, problem
    if settings.cluster == "existing":  # never guessed, and never taken as a whole
        if not settings.context:
            yield "context", "", "name the one to use; `kubectl config get-contexts` lists them"
        if not settings.target and any(module.uses_gpu for module in modules):
            one = "with cluster=existing name the one GPU that the lab may use, by its UUID"
            yield "target", "", one


def _of_shares(settings: Settings, modules: list[str], by_mps: list[str]) -> Iterator[Problem]:
    shares, driver = settings.consumable_shares, f"driver {settings.driver_version}"
    if by_mps:
        allowed = f"with it {driver} prepares no claim for MPS, by which this stack's modules share"
        yield "consumableShares", shares, f"{allowed} a GPU ({', '.join(by_mps)}): leave it empty"
    if "3" in modules and shares != "memory":
        yield "consumableShares", shares, "module 3 shows claims that exclude each other: memory"
    if "DRAConsumableCapacity=false" in settings.feature_gates:
        gate = "featureGates has DRAConsumableCapacity=false, without which a GPU has one claim"
        yield "consumableShares", shares, f"{gate}: leave it empty"
    profile = settings.gpu_profile
    described = settings.node == "simulated" or settings.gpus == "mocked"
    if described and profile.memory_mib is None and shares != "unlimited":
        allowed = f"{driver} limits nothing of a GPU without memory of its own"
        yield "consumableShares", shares, f"{allowed} ({profile.product}): unlimited"


def _of_simulated_gpus(settings: Settings, *, limited: bool) -> Iterator[Problem]:
    """On simulated nodes it is known which GPUs there will be; on real ones module 2 looks."""
    nodes, gpus, profile = settings.nodes, settings.gpus_per_node, settings.gpu_profile
    known = [gpu_uuid(node, index) for node in node_names(nodes) for index in range(gpus)]
    if settings.target not in ("", *known):
        yield "target", settings.target, f"allowed: {', '.join(known)}"
    memory = profile.memory_mib
    problem = too_much(settings.mps_memory_mib, settings.mps_clients, memory)
    if problem and (limited or memory is not None):
        allowed = "" if memory is not None else "; allowed: none"
        yield "mpsMemoryLimit", settings.mps_memory_limit, f"{problem} ({profile.product}){allowed}"


def _of_kind_image(settings: Settings) -> Iterator[Problem]:
    version, known = settings.kubernetes_version, kind_images.versions()
    if not settings.node_image and version not in known:
        allowed = f"kind has images of {', '.join(known)}; for another version set nodeImage"
        yield "kubernetesVersion", version, allowed
    for gate in settings.feature_gates:
        if problem := kind_images.unknown_gate(gate.partition("=")[0], version):
            yield "featureGates", gate, problem


def _of_kind_subsets(settings: Settings, needs_driver: bool) -> str:
    subsets, nodes = settings.gpu_subsets, settings.nodes
    gives_gpus = settings.driver == "nvidia" and settings.gpus == "real"
    given = [index for subset in subsets for index in subset]
    if subsets and not gives_gpus:
        return "only with driver=nvidia and gpus=real: no node gets a GPU of this machine"
    if subsets and len(subsets) != nodes:
        return f"one for each node: nodes is {nodes}"
    if not subsets and nodes > 1 and gives_gpus and needs_driver:
        return f"with nodes={nodes} say which GPUs each has, as in 0,1"
    if len({len(subset) for subset in subsets}) > 1:
        return "every node has as many GPUs as the others"
    return "a GPU belongs to one node" if len(set(given)) < len(given) else ""
