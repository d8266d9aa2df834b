"""A fault is tried: its clients, the injection, what is seen and when; and nothing stays of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes import client

from checks.release import RELEASE
from checks.result import CheckFailed
from faults import acts, engine, scene
from faults.catalogue import FAULTS, mps_daemon
from faults.model import Claim, Client, Fault, NeverSeen, Sight
from faults.objects import LABEL
from kube.devices import GPU, MOCKED, SIMULATED, too_unreal
from kube.errors import KubeError
from tests.unit.benchmark_said import UUID
from tests.unit.fake_kube import KUBECONFIG, NAMESPACE, claim, findings, pod, running
from tests.unit.stage import NODE, PLUGIN, PLUGIN_POD, MpsCluster, slices

LIMITS = ("set_default_active_thread_percentage 50", f"set_default_device_pinned_mem_limit {UUID}")
ILLEGAL = "cuCtxSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS"
DAEMON = "mps-control-daemon-uid-of-fault-gpu-7882d-{}"
PARAMETERS = {
    "kubeconfig": KUBECONFIG,
    "namespace": NAMESPACE,
    "driverNamespace": NAMESPACE,
    "plugin": PLUGIN,
    "uuid": UUID,
    "clusterOwned": True,
    "devices": MOCKED,
}


@dataclass
class Cluster(MpsCluster):
    """Module 4 after its check. Pods run soon after they were made, and say so for ever. crashing:
    those that crash as soon as they run; errors: of those that have ended; later: what happens at a
    time."""

    now: float = 1000.0
    crashing: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        model = pod("own", "Succeeded")
        model.spec.resource_claims, model.spec.volumes = [], []
        self.pods, self.claims, self.slices = [model], [claim("own")], slices()
        self.start_daemon("fault-gpu", *LIMITS)
        self.driver_pods.append(ready(DAEMON.format("old")))

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for each in [each for each in self.later if each[0] <= self.now]:
            self.later.remove(each)
            each[1]()
        for waiting in self.pods:
            if waiting.status.phase == "Pending":
                name = waiting.metadata.name.removeprefix("fault-")
                waiting.status.phase, waiting.spec.node_name = "Running", NODE
                waiting.status.container_statuses = [running("hold")]
                waiting.status.container_statuses[0].restart_count = self.restarts.get(name, 0)
                if name in self.crashing:
                    self.end(name, self.crashing[name])
        for each in self.claims:
            if each.metadata.name == "fault-gpu":
                each.status = claim("x", (NODE, "gpu-0")).status

    def log(self, namespace: str, pod: str, container: str | None = None) -> str:
        found = self.get(self.core.read_namespaced_pod, pod, namespace)
        if found.status.phase != "Running":
            raise KubeError("the container waits")
        name = pod.removeprefix("fault-")
        said: list[dict[str, Any]] = [{"event": "began", "at": self.now}]
        if name in self.crashing:
            said.append({"event": "crashing", "at": self.now})
        said.append({"event": "holding", "at": self.now})
        if name in self.errors:
            said.append({"event": "error", "at": self.now, "error": self.errors[name]})
        return "\n".join(["no JSON", *map(json.dumps, said)])

    def end(self, name: str, error: str) -> None:
        """The client ends with that error."""
        (ends,) = (each for each in self.pods if each.metadata.name == f"fault-{name}")
        ended = client.V1ContainerStateTerminated(exit_code=3, reason="Error")
        ends.status.container_statuses[0].state = client.V1ContainerState(terminated=ended)
        self.errors[name] = error

    def at(self, seconds: float, happens: Callable[[], None]) -> None:
        self.later.append((self.now + seconds, happens))

    def of_faults(self) -> list[str]:
        everything = (*self.pods, *self.claims, *self.config_maps)
        return [each.metadata.name for each in everything if each.metadata.labels]


def ready(name: str) -> Any:
    made = pod(name, "Running", on=NODE)
    made.status.conditions[0].type = "Ready"
    return made


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    clock = SimpleNamespace(time=lambda: made.now, monotonic=lambda: made.now, sleep=made.sleep)
    for module in (engine, scene, acts):
        monkeypatch.setattr(module, "time", clock)
    return made


def nothing(_scene: scene.Scene) -> str:
    return "done"


def fault(*sights: Sight, inject: acts.Act = nothing) -> Fault:
    return Fault(
        name="trial",
        breaks="something",
        claims={"gpu": Claim()},
        clients={"one": Client()},
        inject=inject,
        sights=sights,
    )


def sight(identity: str, look: acts.Act, **more: Any) -> Sight:
    return Sight(id=identity, title=identity, look=look, expected="this", **more)


def after(seconds: float) -> acts.Act:
    """A look that finds something so long after the injection."""

    def look(here: scene.Scene) -> str:
        if here.since() < seconds:
            raise CheckFailed(f"not before {seconds} s")
        return "there"

    return look


def tried(cluster: Cluster, which: Fault, devices: str = MOCKED) -> dict[str, Any]:
    parameters = PARAMETERS | {"devices": devices}
    return engine.run(which, scene.Scene(cast(Any, cluster), parameters, which, "lab"))


def test_each_sight_has_its_own_time_since_the_injection(cluster: Cluster) -> None:
    result = tried(cluster, fault(sight("late", after(8)), sight("soon", after(3))))
    found = findings(result)
    assert [*found] == ["at-work", "injected", "soon", "late", "removed"]
    assert {each["status"] for each in found.values()} == {"passed"}
    assert {each["basis"] for each in found.values()} == {"mocked"}
    assert found["soon"]["seconds"] == pytest.approx(3, abs=0.3)
    assert found["late"]["seconds"] == pytest.approx(8, abs=0.3)
    assert result["clients"]["fault-one"]["stands"] == f"Running on {NODE}"
    assert cluster.of_faults() == []


def test_what_does_not_come_in_time_has_failed_and_all_is_removed(cluster: Cluster) -> None:
    which = fault(sight("never", after(99), within=10), sight("then", after(0), needs="never"))
    found = findings(tried(cluster, which))
    assert (found["never"]["status"], found["never"]["found"]) == ("failed", "not before 99 s")
    assert found["never"]["remedy"]
    assert (found["then"]["status"], found["then"]["found"]) == ("skipped", "needs never")
    assert cluster.of_faults() == []


def test_what_comes_after_something_else_waits_for_it_whatever_it_is(cluster: Cluster) -> None:
    which = fault(sight("never", after(99), within=10), sight("then", after(0), after="never"))
    found = findings(tried(cluster, which))
    assert (found["then"]["status"], found["then"]["seconds"]) == (
        "passed",
        pytest.approx(10, abs=1),
    )


def test_nothing_is_broken_unless_its_clients_work(cluster: Cluster) -> None:
    def must_not(_scene: scene.Scene) -> str:
        raise AssertionError

    cluster.crashing["one"] = "CUDA_ERROR_NO_DEVICE"
    found = findings(tried(cluster, fault(inject=must_not)))
    assert [*found] == ["at-work"]
    assert "CUDA_ERROR_NO_DEVICE" in found["at-work"]["found"]
    assert cluster.of_faults() == []


def test_what_an_injection_that_breaks_off_has_made_is_removed(cluster: Cluster) -> None:
    def breaks_off(here: scene.Scene) -> str:
        here.start("more", Client())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        tried(cluster, fault(inject=breaks_off))
    assert cluster.of_faults() == []


def test_what_a_killed_run_left_is_removed_first(cluster: Cluster) -> None:
    left = pod("fault-left", "Running", on=NODE)
    left.metadata.labels = {LABEL: "another"}
    cluster.pods.append(left)
    assert tried(cluster, fault())["status"] == "passed"
    assert "fault-left" not in [each.metadata.name for each in cluster.pods]


def test_clients_that_were_restarted_did_not_go_on(cluster: Cluster) -> None:
    cluster.restarts["one"] = 1
    goes_on = sight("on", lambda here: here.go_on("one"), kind="unharmed")
    found = findings(tried(cluster, fault(goes_on)))
    assert (found["on"]["status"], found["on"]["found"]) == ("failed", "one was restarted 1 times")


def test_devices_that_were_withdrawn_are_noticed(cluster: Cluster) -> None:
    def withdraw(_scene: scene.Scene) -> str:
        kept, cluster.slices = cluster.slices, []
        cluster.at(4, lambda: setattr(cluster, "slices", kept))
        return "withdrawn"

    stays = sight("stays", acts.slices_stayed, kind="unharmed")
    found = findings(tried(cluster, fault(sight("back", acts.slices_back), stays, inject=withdraw)))
    assert found["back"]["seconds"] == pytest.approx(4, abs=0.3)
    assert found["back"]["found"] == "0 of 2 published at the least, then all"
    assert (found["stays"]["status"], found["stays"]["found"][:6]) == ("failed", "0 of 2")


def test_the_mps_daemon_comes_back_with_its_limits(cluster: Cluster) -> None:
    cluster.at(5, lambda: cluster.driver_pods.append(ready(DAEMON.format("new"))))
    found = findings(tried(cluster, FAULTS["mps-daemon"]))
    assert DAEMON.format("old") in found["injected"]["found"]
    assert found["daemon-back"]["status"] == found["new-client"]["status"] == "passed"
    assert found["new-client"]["seconds"] >= found["daemon-back"]["seconds"] > 3
    assert LIMITS[0] in found["limits"]["found"]
    assert found["one-ends"]["found"] == too_unreal(MOCKED)


def test_an_mps_daemon_that_stays_away_is_a_failure(cluster: Cluster) -> None:
    found = findings(tried(cluster, FAULTS["mps-daemon"]))
    assert found["daemon-back"]["status"] == "failed"
    assert found["daemon-back"]["found"].startswith("no pod mps-control-daemon-uid-of-fault-gpu")


def test_a_crash_takes_a_neighbour_of_mps_along(cluster: Cluster) -> None:
    cluster.crashing["crasher"] = ILLEGAL
    cluster.at(4, lambda: cluster.end("neighbour", "CUDA_ERROR_MPS_CLIENT_TERMINATED"))
    result = tried(cluster, FAULTS["client-crash-mps"], GPU)
    found = findings(result)
    assert found["crasher-ends"]["found"] == f"crasher: exit code 3, {ILLEGAL}"
    assert found["neighbour-ends"]["found"].endswith("CUDA_ERROR_MPS_CLIENT_TERMINATED")
    assert result["status"] == "passed"
    assert {each["basis"] for each in found.values()} == {"real"}
    assert result["clients"]["fault-crasher"]["exit_code"] == 3


def test_a_client_that_ends_with_another_error_is_not_what_was_expected(cluster: Cluster) -> None:
    cluster.crashing["crasher"] = "CUDA_ERROR_OUT_OF_MEMORY"
    found = findings(tried(cluster, FAULTS["client-crash-mps"], GPU))
    assert found["crasher-ends"]["status"] == "failed"


def test_memory_that_is_refused_is_not_waited_for(cluster: Cluster) -> None:
    cluster.crashing["taker"] = "CUDA_ERROR_OUT_OF_MEMORY"
    found = findings(tried(cluster, FAULTS["two-processes"], GPU))
    assert found["granted"]["status"] == "failed"
    assert found["granted"]["found"] == "taker: CUDA_ERROR_OUT_OF_MEMORY"
    assert found["granted"]["seconds"] < 1


def test_a_crash_that_takes_along_who_should_be_spared_is_a_failure(cluster: Cluster) -> None:
    cluster.crashing["crasher"] = ILLEGAL
    cluster.at(2, lambda: cluster.end("neighbour", ILLEGAL))
    found = findings(tried(cluster, FAULTS["client-crash-turns"], GPU))
    assert found["clients-go-on"]["status"] == "failed"
    assert found["clients-go-on"]["found"] == f"neighbour: {ILLEGAL}"


@pytest.mark.parametrize(
    ("name", "devices", "reason"),
    [
        ("memory-limit", MOCKED, too_unreal(MOCKED)),
        ("mps-daemon", SIMULATED, too_unreal(SIMULATED, MOCKED)),
        ("mps-daemonset", MOCKED, "no pod mps-daemon-… in dra-mps: needs mps=both"),
        ("client-crash-apart", GPU, "needs 2 GPUs: 1 here"),
        ("node", MOCKED, "needs this machine as the node: node=host"),
    ],
)
def test_what_cannot_be_tried_says_why_and_makes_nothing(
    cluster: Cluster, name: str, devices: str, reason: str
) -> None:
    cluster.slices[0].spec.devices.pop()
    result = tried(cluster, FAULTS[name], devices)
    assert result["status"] == "skipped"
    assert [each["found"] for each in result["checks"]] == [reason]
    assert cluster.of_faults() == []


def test_nothing_is_broken_on_a_cluster_of_others(cluster: Cluster) -> None:
    which, parameters = FAULTS["plugin"], PARAMETERS | {"clusterOwned": False}
    result = engine.run(which, scene.Scene(cast(Any, cluster), parameters, which, "lab"))
    assert result["checks"][0]["found"] == "on a cluster of others nothing is broken"
    assert PLUGIN_POD in [each.metadata.name for each in cluster.driver_pods]


@pytest.mark.parametrize("which", FAULTS.values(), ids=FAULTS)
def test_sights_wait_for_those_of_their_own_fault(which: Fault) -> None:
    known = {each.id for each in which.sights}
    assert len(known) == len(which.sights)
    assert {each.needs for each in which.sights} | {each.after for each in which.sights} <= {
        "", *known
    }  # fmt: skip
    assert {client.claim for client in which.clients.values()} <= {*which.claims}


def test_a_daemon_of_a_daemonset_is_woken_before_and_released_after(cluster: Cluster) -> None:
    """It is data: where its pod is, and after which pod of the module's its clients are made."""
    daemon = acts.Daemon(prefix="mps-daemon-", namespace=NAMESPACE, model="client")
    model = pod("client", "Succeeded")
    model.spec.resource_claims, model.spec.volumes = [], []
    cluster.pods += [model, ready("mps-daemon-released")]
    cluster.at(1, lambda: cluster.pods.append(ready("mps-daemon-woken")))
    cluster.at(9, lambda: cluster.pods.append(ready("mps-daemon-back")))
    result = tried(cluster, mps_daemon("mps-daemonset", "the MPS DaemonSet", daemon))
    found = findings(result)
    assert found["injected"]["found"] == "pod mps-daemon-woken deleted"
    assert found["daemon-back"]["status"] == found["new-client"]["status"] == "passed"
    (left,) = (each for each in cluster.pods if each.metadata.name.startswith("mps-daemon-"))
    assert left.metadata.name == "mps-daemon-back"
    assert RELEASE in left.metadata.annotations


def test_what_cannot_come_any_more_is_not_waited_for(cluster: Cluster) -> None:
    def broke(_scene: scene.Scene) -> str:
        raise NeverSeen("it ended with 1")

    found = findings(tried(cluster, fault(sight("up", broke, within=300))))
    assert (found["up"]["status"], found["up"]["found"]) == ("failed", "it ended with 1")
    assert found["up"]["seconds"] < 1
