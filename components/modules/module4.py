"""Module 4: two pods share a GPU through one claim and an MPS daemon, NVIDIA's driver's or one that
the lab runs itself; a third, whose own claim names the same GPU, waits until they have ended."""

from collections.abc import Mapping

from components import mps_daemon
from components.check import Check
from components.lab_context import MPS_NAMESPACE, LabContext
from components.manifests import Manifest
from components.modules.registry import Module
from components.mps_clients import granted_sizes, refused_sizes, set_limit, set_sizes
from components.workload import BENCHMARK, INSPECT, ModuleNamespace, PodRun, pod_of, skip_await

NAMESPACE = "dra-module4"
DRIVER, DAEMONSET = "mps-sharing", "mps-daemonset"
"""The checks, one for each way to run MPS's daemon."""
PROGRAMS: Mapping[str, tuple[str, ...]] = {
    DRIVER: tuple(dict.fromkeys((*BENCHMARK, *INSPECT))),
    DAEMONSET: BENCHMARK,
}
WAYS = {"driver": (DRIVER,), "daemonset": (DAEMONSET,), "both": (DRIVER, DAEMONSET)}
SHARING = ("shared-1", "shared-2")
CLIENTS = ("client-1", "client-2")
OTHER_USER = "other-user"
DAEMON = "mps-daemon"
THREADS, TIGHTER_THREADS = 50, 25
"""Percentages of every client, and that which client-2 asks for by its environment (manifests)."""


def build(lab: LabContext) -> list[Check]:
    ways = WAYS[lab.settings.mps]
    namespace = ModuleNamespace(lab, MODULE, {way: PROGRAMS[way] for way in ways})
    made: list[Check] = []
    if DRIVER in ways:
        made.append(share_by_driver(namespace))
    if DAEMONSET in ways:
        made.append(share_by_daemonset(namespace, *made))
    return made


def share_by_driver(namespace: ModuleNamespace) -> Check:
    """A claim that asks for MPS, for which the driver runs the daemon."""
    lab, objects = namespace.lab, namespace.objects
    shared = namespace.claim(objects["ResourceClaim/shared"], "module4-shared-claim")
    # Where the driver's webhook refuses the first, there is no claim of the module at all.
    own = namespace.claim(objects["ResourceClaim/own"], "module4-own-claim", shared)
    run = PodRun(
        namespace,
        DRIVER,
        driverNamespace=lab.driver.namespace,
        plugin=lab.driver.plugin,
        pods=list(SHARING),
        clusterOwned=lab.cluster.owned,
        webhook=lab.settings.webhook,
        devices=lab.nodes.devices,
    )
    sharing = [run.start(objects[f"Pod/{name}"], shared, shared, own) for name in SHARING]
    # The GPU must be the others' by then, or they would be the ones that wait.
    run.start(skip_await(objects["Pod/own"]), own, *sharing)
    return run.verify()


def share_by_daemonset(namespace: ModuleNamespace, *before: Check) -> Check:
    """An ordinary claim, and the lab's own daemon; never both daemons on the GPU at a time."""
    lab, objects = namespace.lab, namespace.objects
    limit = lab.settings.mps_memory_mib
    tighter = tighter_limit(limit)
    lab.mps_daemon = mps_daemon.MpsDaemon(
        lab, parent=namespace.component, after=[namespace.made, *before]
    )
    daemon = lab.mps_daemon.start(
        namespace.runs[DAEMONSET], name=DAEMON, threads=THREADS, memory_mib=limit
    )
    run = PodRun(
        namespace,
        DAEMONSET,
        "daemonset",
        driverNamespace=lab.driver.namespace,
        plugin=lab.driver.plugin,
        daemonNamespace=MPS_NAMESPACE,
        daemonSet=DAEMON,
        daemon=mps_daemon.digest(),
        pods=list(CLIENTS),
        otherUser=OTHER_USER,
        threads={CLIENTS[0]: THREADS, CLIENTS[1]: TIGHTER_THREADS},
        granted={CLIENTS[0]: granted_sizes(limit), CLIENTS[1]: granted_sizes(tighter)},
        memoryMib=limit,
        clusterOwned=lab.cluster.owned,
        devices=lab.nodes.devices,
    )
    claim = namespace.claim(objects["ResourceClaim/clients"], "module4-clients-claim", *before)
    pipe = mps_daemon.pipe_volume(namespace)
    for name, own_limit in (*zip(CLIENTS, (limit, tighter), strict=True), (OTHER_USER, limit)):
        pod = _with_memory(objects[f"Pod/{name}"], own_limit)
        run.start(pod, claim, claim, *pipe, daemon)
    return run.verify()


def tighter_limit(limit_mib: int) -> int:
    """What client-2 asks for: half of it, 0 for none."""
    return max(limit_mib // 2, 1) if limit_mib else 0


def _with_memory(pod: Manifest, limit_mib: int) -> Manifest:
    """The pod that tries sizes around its limit, and asks for that limit where it asks at all."""
    if limit_mib:
        sizes = [*granted_sizes(limit_mib), *refused_sizes(limit_mib)]
        return set_limit(set_sizes(pod, sizes), f"0={limit_mib}M")
    changed = set_sizes(pod, [])
    for container in pod_of(changed)["spec"]["containers"]:
        container["env"] = [each for each in container["env"] if "MEM_LIMIT" not in each["name"]]
    return changed


MODULE = Module(
    id="4",
    stack="module4",
    title="MPS sharing",
    needs=("2",),
    requires=frozenset({"driver", "mps"}),
    checks=(DRIVER, DAEMONSET),
    namespaces=(NAMESPACE,),
    settings=("mps",),
    shows="two pods, one claim: both on one GPU through MPS; a third waits for it",
    with_gpu="to see MPS at work",
    seconds=12,
    build=build,
)
