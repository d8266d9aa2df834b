"""What injections do, and what sights look at, beyond the clients themselves."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from checks import release
from checks.pod_scenario import has_device
from checks.result import CheckFailed, CheckSkipped, require
from faults.model import Client, NeverSeen
from faults.objects import PREFIX
from faults.scene import STEADY_SECONDS, Scene
from kube.errors import KubeError
from machine import cluster_state, host_machine
from machine import host_places as places

Act = Callable[[Scene], str]


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """Where an MPS control daemon's pod is found. prefix: of its name, in which {claim} is the uid
    of the claim; namespace: "" for the driver's; model: the pod of the module's after which its
    clients are made."""

    prefix: str
    namespace: str = ""
    model: str = "own"

    @property
    def of_driver(self) -> bool:
        """Whether NVIDIA's driver runs it, for one claim."""
        return not self.namespace


def start(scene: Scene, name: str, client: Client, event: str) -> str:
    """Make a client, and count from the moment at which it says that event."""
    scene.start(name, client)

    def said() -> str:
        last = scene.last(name, event)
        if not last:
            raise CheckFailed(f"{name} has not said '{event}': {scene.describe(name)}")
        scene.injected = last["at"]
        return f"pod {PREFIX}{name}: {event}"

    return scene.until_so(said)


def new_client(scene: Scene, name: str, client: Client) -> str:
    scene.start_once(name, client)
    scene.works(name)
    took = time.time() - scene.noted[name]
    return f"{name}: at work {took:.1f} s after it was made{scene.as_client(name)}"


def granted(scene: Scene, name: str, mib: int, processes: int) -> str:
    """That every process of the client has got the memory, and works with it."""
    said = scene.events(name)
    if errors := [each["error"] for each in said if each["event"] == "error"]:
        raise NeverSeen(f"{name}: {errors[0]}")
    has = {e["process"]: e["total_mib"] for e in said if e["event"] == "allocated"}
    working = {each["process"] for each in said if each["event"] == "working"}
    done = len(working) == processes and sorted(has.values()) == [mib] * processes
    return require(done, f"{' + '.join(f'{total} MiB' for total in has.values()) or 'nothing'}")


def slices_stayed(scene: Scene) -> str:
    text = f"{scene.fewest} of {scene.before} published at every look"
    return require(scene.fewest == scene.before, text)


def slices_back(scene: Scene) -> str:
    """That all devices are published, and have been for a while: a kubelet that starts withdraws
    them, and the plugin publishes them again."""
    whole = scene.whole_since and time.time() > scene.whole_since + STEADY_SECONDS
    scene.happened = scene.whole_since
    text = f"{scene.fewest} of {scene.before} published at the least"
    return require(bool(whole), f"{text}, then all" if whole else text)


# --- the MPS daemon -------------------------------------------------------------------------------


def find_daemon(scene: Scene, daemon: Daemon) -> tuple[str, str, bool]:
    """The name of its pod, its uid, and whether it is ready."""
    namespace, prefix = daemon.namespace, daemon.prefix
    if daemon.of_driver:
        namespace, prefix = scene.driver_namespace, prefix.format(claim=_claim_uid(scene))
    pod = scene.find(namespace, prefix)
    return pod.metadata.name, pod.metadata.uid, scene.is_ready(pod)


def wake_daemon(scene: Scene, daemon: Daemon) -> None:
    """Have a DaemonSet's daemon run that a check has released: in a pod of its own that has not
    been told so."""
    if not daemon.of_driver:
        try:
            old = scene.find(daemon.namespace, daemon.prefix)
        except CheckFailed as error:
            raise CheckSkipped(f"{error}: needs mps=both") from error
        scene.noted["daemon"] = old.metadata.uid
        _delete(scene, daemon.namespace, old.metadata.name)
        scene.until_so(lambda: daemon_back(scene, daemon))


def release_daemon(scene: Scene, daemon: Daemon) -> None:
    """Have it give the GPU to others, as after its check."""
    if not daemon.of_driver and "daemon" in scene.noted:
        pod = scene.find(daemon.namespace, daemon.prefix)
        release.release_pods(scene.kube, daemon.namespace, [pod.metadata.name])


def kill_daemon(scene: Scene, daemon: Daemon) -> str:
    if daemon.of_driver:
        scene.noted["limits"] = scene.daemons().limits(_claim_uid(scene))[1]
    name, scene.noted["daemon"], _ = find_daemon(scene, daemon)
    namespace = daemon.namespace or scene.driver_namespace
    _delete(scene, namespace, name)
    return f"pod {name} deleted"


def daemon_back(scene: Scene, daemon: Daemon) -> str:
    name, uid, ready = find_daemon(scene, daemon)
    back = uid != scene.noted["daemon"] and ready
    return require(back, "Ready" if back else f"pod {name} is not ready yet")


def same_limits(scene: Scene, daemon: Daemon) -> str:
    if not daemon.of_driver:
        raise CheckSkipped("they are in its own command")
    limits = scene.daemons().limits(_claim_uid(scene))[1]
    mode = scene.reserved_for_daemon()
    return require(limits == scene.noted["limits"], f"{', '.join(limits)}; {mode}")


def _claim_uid(scene: Scene) -> str:
    return str(scene.claim(f"{PREFIX}gpu", has_device).metadata.uid)


def _delete(scene: Scene, namespace: str, name: str) -> None:
    delete = scene.kube.core.delete_namespaced_pod
    scene.kube.get(delete, name, namespace, grace_period_seconds=1)


# --- the kubelet plugin ---------------------------------------------------------------------------


def kill_plugin(scene: Scene) -> str:
    pod = scene.find(scene.driver_namespace, f"{scene.plugin}-")
    scene.noted["plugin"] = pod.metadata.uid
    _delete(scene, scene.driver_namespace, pod.metadata.name)
    if scene.before > 1:
        for name in ("new", "touched"):
            scene.start(name, Client(claim="other"))
    return f"pod {pod.metadata.name} deleted"


def new_waits(scene: Scene) -> str:
    scene.need_second_gpu()
    warnings = scene.warnings("new")
    return require(bool(warnings), warnings[0] if warnings else scene.describe("new"))


def plugin_back(scene: Scene) -> str:
    pod = scene.find(scene.driver_namespace, f"{scene.plugin}-")
    back = pod.metadata.uid != scene.noted["plugin"] and scene.is_ready(pod)
    return require(back, "Ready" if back else f"pod {pod.metadata.name} is not ready yet")


def touched_runs(scene: Scene) -> str:
    scene.need_second_gpu()
    scene.touch("touched")
    return f"{scene.works('touched')}: at work"


def new_runs(scene: Scene) -> str:
    scene.need_second_gpu()
    return f"{scene.works('new')}: at work"


# --- this machine as a node -----------------------------------------------------------------------


def kill_node_daemons(scene: Scene) -> str:
    return _kill(scene, places.daemons())


def kill_all(scene: Scene) -> str:
    """As a loss of power does."""
    cluster = cluster_state.processes(cluster_state.RUN / scene.stack)
    return _kill(scene, [*places.processes(), *host_machine.grouped(), *cluster])


def _kill(scene: Scene, processes: list[psutil.Process]) -> str:
    names: dict[str, None] = {}
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            names[process.name()] = None
            process.kill()
    psutil.wait_procs(processes, timeout=10)
    scene.bring_back()
    return f"killed: {', '.join(names)}"


def node_back(scene: Scene) -> str:
    """Through the API server: what it knows of the node may be older than the kubelet."""
    try:
        return scene.kube.text(f"/api/v1/nodes/{places.NODE}/proxy/healthz")
    except KubeError as error:
        raise CheckFailed(str(error)) from error
