"""Stack configuration, read and validated once; nothing else in the program reads it.

Every rejected value gives one line that names the key, the value and what is allowed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import semver

from components.gpu_node import gpu_uuid, node_names
from components.gpu_profiles import GPU_PROFILES, GpuProfile
from components.modules.registry import MODULES, closure
from kube.memory import too_much
from kube.quantity import mebibytes
from machine import kind_images
from machine.host_networks import Networks, unusable
from toolchain.images import WORKLOAD_IMAGE
from toolchain.numbers import whole
from toolchain.tools import DRIVER_CHARTS

CLUSTERS = ("embedded", "kind", "existing")
NODES = ("simulated", "host")
"""Of an embedded cluster; the others have nodes of their own."""
DRIVERS = ("nvidia", "example")
OWN = "own"
"""What `Settings.node` is where the cluster has nodes of its own."""
MOUNTS = ("auto", "toolkit", "cdi")
MPS_MODULES = ("4", "5")
"""They share a GPU through NVIDIA's driver, and claim it with its configuration."""
MOST_NODES = 16
"""More would be too many resources for Pulumi's file backend, whose cost grows quadratically."""
MOST_GPUS = 16
NEWEST_DRIVER = "0.5.0"
HOST_DRIVER = "0.4.1"
"""The version of which set-up has the kubelet plugin, beside the chart, for a host node."""
EXAMPLE_DRIVER = "0.4.0"
"""The version of dra-example-driver of which set-up has chart and image."""
NO_LIMIT = "none"
"""What mpsMemoryLimit is where the GPU uses the machine's memory, which MPS does not limit."""
MOST_CLIENTS = 48
"""Clients that one MPS server takes (NVIDIA's MPS documentation, from Volta on)."""
OLDEST_DRIVER = semver.Version(0, 4, 1)
"""0.4.0 renders a duplicate label; older charts have other names (NVIDIA's release notes)."""
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
GPU_UUID = re.compile(r"(GPU|gpu)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""dra-example-driver writes its own with small letters."""
MEMORY_UNITS = ("Ki", "Mi", "Gi", "Ti")
MEMORY = re.compile(r"[0-9]{1,12}(" + "|".join(MEMORY_UNITS) + ")")
CHART = re.compile(r"oci://[A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+(:[A-Za-z0-9._-]+)?")
PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
IMAGE = re.compile(
    rf"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?/)?{PART}(?:/{PART})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
"""A reference as container runtimes read it: host and port, path, tag, digest."""
PYTHON_IMAGE = (
    "docker.io/library/python:3.13.15-slim-trixie"
    "@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285"
)
"""What the lab's pods run on a cluster of others, whose nodes have no image of set-up; for all
machines that Docker Hub has it for, x86_64 and aarch64 among them."""
SUBSET = re.compile(r"[0-9]+(\+[0-9]+)*")
GATE = re.compile(r"[A-Z][A-Za-z0-9]*=(true|false)")
API = re.compile(r"[a-z0-9.-]+(/[a-z0-9]+){1,2}=(true|false)")


class SettingsError(ValueError):
    """A configuration value that cannot be used; the text is one line for its author."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        shown = value if isinstance(value, str) else json.dumps(value)
        super().__init__(f"configuration key '{key}': '{shown}' is not allowed; {allowed}")


@dataclass(frozen=True)
class Settings:
    """What one stack is to be. Versions carry no leading "v"; `target` is a GPU's UUID or None.

    node: simulated, host, or OWN; workload_image: of the pods that use the GPU; node_image: of a
    Kind node, "" for the one of the version;
    gpu_subsets: for each worker of a Kind cluster the indices of its GPUs, () for all to the only
    one; kubeconfig: of an existing cluster, "" for kubectl's own choice; install_driver: whether
    the driver is brought, or has to be there.
    """

    stack: str
    modules: tuple[str, ...]
    cluster: str
    node: str
    nodes: int
    gpus_per_node: int
    gpu_profile: GpuProfile
    kubernetes_version: str
    driver: str
    driver_version: str
    driver_chart: str
    feature_gates: tuple[str, ...]
    runtime_config: tuple[str, ...]
    workload_image: str
    node_image: str
    gpu_mounts: str
    gpu_subsets: tuple[tuple[int, ...], ...]
    kubeconfig: str
    context: str
    install_driver: bool
    strict: bool
    target: str | None
    mps_percentages: tuple[int, ...]
    mps_clients: int
    mps_share_percentage: int
    mps_memory_limit: str
    host_networks: Networks

    @property
    def mps_memory_mib(self) -> int:
        """The limit as NVIDIA's driver hands it to MPS: whole MiB, rounded down; 0 for none."""
        return 0 if self.mps_memory_limit == NO_LIMIT else mebibytes(self.mps_memory_limit)

    @property
    def expected_devices(self) -> int:
        return self.nodes * self.gpus_per_node


KEYS = (
    "modules",
    "cluster",
    "node",
    "nodes",
    "gpusPerNode",
    "gpuProfile",
    "kubernetesVersion",
    "driver",
    "driverVersion",
    "driverChart",
    "featureGates",
    "runtimeConfig",
    "workloadImage",
    "nodeImage",
    "gpuMounts",
    "gpuSubsets",
    "kubeconfig",
    "context",
    "installDriver",
    "strict",
    "target",
    "mpsPercentages",
    "mpsClients",
    "mpsSharePercentage",
    "mpsMemoryLimit",
    "hostNetworks",
)


def read() -> Settings:
    """The settings of the stack that is being deployed.

    Raises pulumi.RunError, which Pulumi prints without a traceback.
    """
    config = pulumi.Config()
    prefix = f"{config.name}:"
    given = {
        key.removeprefix(prefix): value
        for key, value in pulumi.runtime.config.CONFIG.get().items()
        if key.startswith(prefix)
    }
    try:
        return parse(given, pulumi.get_stack())
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None


def parse(given: Mapping[str, str], stack: str) -> Settings:
    """Settings from raw configuration: key → string, arrays as JSON text.

    Raises SettingsError for the first value that cannot be used.
    """
    for key in given:
        if key not in KEYS:
            raise SettingsError(key, given[key], f"there is no such key; keys: {', '.join(KEYS)}")
    _matches("stack name", stack, DNS_LABEL, "use small letters, digits and inner hyphens")
    cluster = _one_of("cluster", given["cluster"], CLUSTERS)
    node = _node(given["node"], cluster)
    driver = _driver(given["driver"], node)
    driver_version = _driver_version(given["driverVersion"], driver, node)
    settings = Settings(
        stack=stack,
        modules=_modules(_strings("modules", given["modules"])),
        cluster=cluster,
        node=node,
        nodes=_nodes(given["nodes"], node),
        gpus_per_node=_count("gpusPerNode", given["gpusPerNode"], MOST_GPUS),
        gpu_profile=GPU_PROFILES[_one_of("gpuProfile", given["gpuProfile"], GPU_PROFILES)],
        kubernetes_version=str(_version("kubernetesVersion", given["kubernetesVersion"])),
        driver=driver,
        driver_version=str(driver_version),
        driver_chart=_chart(given.get("driverChart", ""), driver, driver_version),
        feature_gates=_pairs(
            "featureGates", given["featureGates"], GATE, "each is Name=true or Name=false"
        ),
        runtime_config=_pairs(
            "runtimeConfig",
            given["runtimeConfig"],
            API,
            "each is group/version=true or group/version=false",
        ),
        workload_image=_workload_image(given["workloadImage"], cluster),
        node_image=_image("nodeImage", given["nodeImage"], "kindest/node:v1.36.4"),
        gpu_mounts=_one_of("gpuMounts", given["gpuMounts"], MOUNTS),
        gpu_subsets=_subsets(given["gpuSubsets"]),
        kubeconfig=given["kubeconfig"],
        context=given["context"],
        install_driver=_install(given["installDriver"], cluster),
        strict=_one_of("strict", given["strict"], ("true", "false")) == "true",
        target=_target(given.get("target", "")),
        mps_percentages=_percentages(given["mpsPercentages"]),
        mps_clients=_count("mpsClients", given["mpsClients"], MOST_CLIENTS, least=2),
        mps_share_percentage=_count("mpsSharePercentage", given["mpsSharePercentage"], 100),
        mps_memory_limit=_memory_limit(given["mpsMemoryLimit"]),
        host_networks=_networks(given["hostNetworks"], node),
    )
    for require in (
        _require_simulated_target,
        _require_simulated_memory,
        _require_mps,
        _require_kind,
        _require_existing,
    ):
        require(settings)
    return settings


def _require_simulated_target(settings: Settings) -> None:
    """On simulated nodes it is known which GPUs there will be."""
    known = [
        gpu_uuid(node, index)
        for node in node_names(settings.nodes)
        for index in range(settings.gpus_per_node)
    ]
    if settings.node == "simulated" and settings.target not in (None, *known):
        raise SettingsError("target", settings.target, f"allowed: {', '.join(known)}")


def _require_simulated_memory(settings: Settings) -> None:
    """On simulated nodes it is known what the GPUs have; on real ones module 2 looks."""
    limit, clients = settings.mps_memory_mib, settings.mps_clients
    profile = settings.gpu_profile
    if settings.node == "simulated" and (problem := too_much(limit, clients, profile.memory_mib)):
        raise SettingsError(
            "mpsMemoryLimit", settings.mps_memory_limit, f"{problem} ({profile.product})"
        )


def _require_mps(settings: Settings) -> None:
    wanted = [module.id for module in closure(settings.modules) if module.id in MPS_MODULES]
    if settings.driver != "nvidia" and wanted:
        raise SettingsError(
            "driver", settings.driver, f"module {wanted[0]} shares a GPU by MPS: nvidia"
        )


def _require_kind(settings: Settings) -> None:
    """What a Kind cluster can be, as far as it is known before anything is looked at."""
    if settings.cluster != "kind":
        subsets = _shown(settings.gpu_subsets)
        for key, value in (("nodeImage", settings.node_image), ("gpuSubsets", subsets)):
            if value:
                raise SettingsError(key, value, "only with cluster=kind")
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
    _require_subsets(settings)


def _require_subsets(settings: Settings) -> None:
    subsets, shown = settings.gpu_subsets, _shown(settings.gpu_subsets)
    gpus = settings.driver == "nvidia"
    needed = gpus and "2" in [module.id for module in closure(settings.modules)]
    if subsets and not gpus:
        raise SettingsError("gpuSubsets", shown, "only with driver=nvidia: no node gets a GPU")
    if subsets and len(subsets) != settings.nodes:
        raise SettingsError("gpuSubsets", shown, f"one for each node: nodes is {settings.nodes}")
    if not subsets and settings.nodes > 1 and needed:
        raise SettingsError(
            "gpuSubsets", shown, f"with nodes={settings.nodes} say which GPUs each has, as in 0,1"
        )
    if len({len(subset) for subset in subsets}) > 1:
        raise SettingsError("gpuSubsets", shown, "every node has as many GPUs as the others")
    given = [index for subset in subsets for index in subset]
    if len(set(given)) < len(given):
        raise SettingsError("gpuSubsets", shown, "a GPU belongs to one node")


def _shown(subsets: Sequence[Sequence[int]]) -> list[str]:
    return ["+".join(map(str, subset)) for subset in subsets]


def _require_existing(settings: Settings) -> None:
    """A cluster that others use too is never guessed, and never taken as a whole."""
    if settings.cluster != "existing":
        for key, value in (("kubeconfig", settings.kubeconfig), ("context", settings.context)):
            if value:
                raise SettingsError(key, value, "only with cluster=existing")
        return
    if not settings.context:
        raise SettingsError(
            "context", "", "name the one to use; `kubectl config get-contexts` lists them"
        )
    uses_gpu = any("2" in module.needs for module in closure(settings.modules))
    if uses_gpu and not settings.target:
        raise SettingsError(
            "target", "", "with cluster=existing name the one GPU that the lab may use, by its UUID"
        )


def _one_of(key: str, value: str, allowed: Mapping[str, Any] | Sequence[str]) -> str:
    if value not in allowed:
        raise SettingsError(key, value, f"allowed: {', '.join(allowed)}")
    return value


def _matches(key: str, value: str, pattern: re.Pattern[str], allowed: str) -> str:
    if not pattern.fullmatch(value) or len(value) > 63:
        raise SettingsError(key, value, allowed)
    return value


def _count(key: str, value: str, most: int, least: int = 1) -> int:
    try:
        return whole(value, least, most)
    except ValueError as error:
        raise SettingsError(key, value, str(error)) from None


def _version(key: str, value: str) -> semver.Version:
    try:
        return semver.Version.parse(value)
    except (ValueError, TypeError):
        raise SettingsError(key, value, "a version such as 1.36.4, without a leading v") from None


def _node(value: str, cluster: str) -> str:
    node = _one_of("node", value, NODES)
    if cluster == "embedded":
        return node
    if node == "host":
        raise SettingsError("node", value, "a host node belongs to cluster=embedded")
    return OWN


def _nodes(value: str, node: str) -> int:
    count = _count("nodes", value, MOST_NODES)
    if node == "host" and count != 1:
        raise SettingsError("nodes", value, "with node=host this machine is the only node: 1")
    return count


def _driver(value: str, node: str) -> str:
    driver = _one_of("driver", value, DRIVERS)
    if driver == "example" and node != OWN:
        raise SettingsError("driver", value, "the example driver needs cluster=kind or existing")
    return driver


def _driver_version(value: str, driver: str, node: str) -> semver.Version:
    """The version that is given, else the newest that such a node can run."""
    if driver == "example":
        if value not in ("", EXAMPLE_DRIVER):
            raise SettingsError("driverVersion", value, f"of driver=example: {EXAMPLE_DRIVER}")
        return semver.Version.parse(EXAMPLE_DRIVER)
    version = _version("driverVersion", value or (HOST_DRIVER if node == "host" else NEWEST_DRIVER))
    if node == "host" and str(version) != HOST_DRIVER:
        raise SettingsError("driverVersion", value, f"a host node runs {HOST_DRIVER} only")
    if version < OLDEST_DRIVER:
        raise SettingsError("driverVersion", value, f"{OLDEST_DRIVER} or later")
    return version


def _chart(value: str, driver: str, version: semver.Version) -> str:
    """The chart reference: the one that is given, else set-up's copy of that version."""
    if value:
        return _own_chart(value)
    if driver == "example":
        return f"./.tools/charts/dra-example-driver-{version}"
    if str(version) not in DRIVER_CHARTS:
        raise SettingsError(
            "driverVersion",
            str(version),
            f"set-up has the charts of {', '.join(DRIVER_CHARTS)}; for another version set "
            "driverChart to a folder or an oci:// reference",
        )
    return f"./.tools/charts/dra-driver-nvidia-gpu-{version}"


def _own_chart(value: str) -> str:
    """A folder or a packed chart on this machine, or what a registry has, which is asked later."""
    packed = value.endswith(".tgz")
    if not CHART.fullmatch(value) and not Path(value, "" if packed else "Chart.yaml").is_file():
        raise SettingsError(
            "driverChart",
            value,
            "a folder with Chart.yaml, a packed chart (.tgz), or oci://HOST/NAME",
        )
    return value


def _install(value: str, cluster: str) -> bool:
    """Clusters of ours have no driver yet; into others one is only put when that is asked for."""
    if value == "":
        return cluster != "existing"
    wanted = _one_of("installDriver", value, ("true", "false")) == "true"
    if not wanted and cluster != "existing":
        raise SettingsError("installDriver", value, "false is for cluster=existing")
    return wanted


def _image(key: str, value: str, example: str) -> str:
    if value and not IMAGE.fullmatch(value):
        raise SettingsError(key, value, f"a reference, such as {example}")
    return value


def _workload_image(value: str, cluster: str) -> str:
    """The image that is given, else the one that nodes of such a cluster can have."""
    given = _image("workloadImage", value, PYTHON_IMAGE.partition("@")[0])
    return given or (PYTHON_IMAGE if cluster == "existing" else WORKLOAD_IMAGE)


def _subsets(value: str) -> tuple[tuple[int, ...], ...]:
    items = _strings("gpuSubsets", value)
    for item in items:
        _matches("gpuSubsets", item, SUBSET, "indices of GPUs joined by +, such as 0+1")
    return tuple(tuple(int(index) for index in item.split("+")) for item in items)


def _target(value: str) -> str | None:
    if not value:
        return None
    return _matches("target", value, GPU_UUID, "the UUID of a GPU, as nvidia-smi -L prints it")


def _percentages(value: str) -> tuple[int, ...]:
    items = _strings("mpsPercentages", value)
    found = [_count("mpsPercentages", item, 100) for item in items]
    for position, item in enumerate(found):
        if item in found[:position]:
            raise SettingsError("mpsPercentages", items[position], "each percentage is named once")
    if 100 not in found:
        raise SettingsError("mpsPercentages", items, "100 must be among them, to compare with")
    return tuple(found)


def _memory_limit(value: str) -> str:
    if value == NO_LIMIT:
        return value
    if not MEMORY.fullmatch(value):
        units = ", ".join(MEMORY_UNITS)
        allowed = f"a whole number with {units}, such as 1Gi, or {NO_LIMIT}"
        raise SettingsError("mpsMemoryLimit", value, allowed)
    if mebibytes(value) < 1:
        raise SettingsError("mpsMemoryLimit", value, "at least 1Mi: MPS counts whole MiB")
    return value


def _networks(value: str, node: str) -> Networks:
    items = _strings("hostNetworks", value)
    if wrong := unusable(items):
        raise SettingsError("hostNetworks", *wrong)
    networks = Networks(*items)
    if node != "host" and networks != Networks():
        raise SettingsError("hostNetworks", items, "only with node=host")
    return networks


def _strings(key: str, value: str) -> list[str]:
    """An array of strings. Pulumi hands arrays over as JSON text."""
    try:
        items = json.loads(value)
    except json.JSONDecodeError:
        items = None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise SettingsError(key, value, 'a list of quoted strings, such as ["0", "3"]')
    return items


def _modules(ids: list[str]) -> tuple[str, ...]:
    if not ids:
        raise SettingsError("modules", ids, f"at least one of: {', '.join(MODULES)}")
    for position, identity in enumerate(ids):
        _one_of("modules", identity, MODULES)
        if identity in ids[:position]:
            raise SettingsError("modules", identity, "each module is named once")
    return tuple(ids)


def _pairs(key: str, value: str, pattern: re.Pattern[str], allowed: str) -> tuple[str, ...]:
    items = _strings(key, value)
    names = [item.partition("=")[0] for item in items]
    for position, item in enumerate(items):
        if not pattern.fullmatch(item):
            raise SettingsError(key, item, allowed)
        if names[position] in names[:position]:
            raise SettingsError(key, item, f"{names[position]} is named twice")
    return tuple(items)
