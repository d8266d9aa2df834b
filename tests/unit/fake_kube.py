"""A cluster in memory that stands in for kube.client.Kube; time passes by scripted changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import ProtocolError

from components.simulated_gpus import GPU_PROFILES, devices
from kube.client import explained

KUBECONFIG = ".run/lab/kubeconfig"
NAMESPACE = "lab"
DRIVER_VERSION = "0.5.0"


def status_body(message: str) -> str:
    """The Status object in which the API server says what is wrong."""
    return json.dumps({"kind": "Status", "apiVersion": "v1", "message": message})


def refusal(status: int, reason: str, body: str | None) -> ApiException:
    """What the client raises when the API server answers so."""
    error = ApiException(status=status, reason=reason)
    error.body = body
    return error


FORBIDDEN = refusal(403, "Forbidden", status_body("you may not"))
DENIED = refusal(
    400, "", status_body('admission webhook "gpu.nvidia.com" denied the request: unknown strategy')
)
BROKEN = refusal(500, "Internal Server Error", "<h1>etcd is gone</h1>")
NOT_FOUND = refusal(404, "Not Found", status_body("no such thing"))
UNREACHABLE = ProtocolError("connection refused")
FORBIDDEN_TEXT = "the API server answers 403 you may not"
BROKEN_TEXT = "the API server answers 500 Internal Server Error"
NOT_FOUND_TEXT = "the API server answers 404 no such thing"
UNREACHABLE_TEXT = "the API server cannot be reached: connection refused"


@dataclass
class FakeKube:
    """What is in the cluster, and what becomes of it.

    changes: what happens while somebody waits, one after the other, all before the deadline.
    on_patch: what happens when the pod of that name is patched; on_create: when that pod was made.
    refusals: API call → error that
    answers it; "*" stands for every call. served: groups with their version. logs: pod → what it
    printed, or that by turns. scripts: what a script that is run in a pod prints, by turns, the
    last for ever; ran: in which pods.
    """

    nodes: list[Any] = field(default_factory=list)
    pods: list[Any] = field(default_factory=list)
    claims: list[Any] = field(default_factory=list)
    config_maps: list[Any] = field(default_factory=list)
    slices: list[Any] = field(default_factory=list)
    daemon_sets: list[Any] = field(default_factory=list)
    jobs: list[Any] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    logs: dict[str, str | list[str]] = field(default_factory=dict)
    scripts: list[str] = field(default_factory=list)
    deployments: list[Any] = field(default_factory=list)
    driver_pods: list[Any] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    device_classes: list[Any] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    served: list[str] = field(default_factory=list)
    version: str = "v1.37.2"
    metrics: str = ""
    changes: list[Callable[[], None]] = field(default_factory=list)
    on_patch: Callable[[str], None] = lambda _name: None
    on_create: Callable[[dict[str, Any]], None] = lambda _pod: None
    refusals: dict[str, Exception] = field(default_factory=dict)

    def stand_in(self, monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> FakeKube:
        """Be the cluster that `module` opens."""

        def opened(kubeconfig: str) -> FakeKube:
            assert kubeconfig == KUBECONFIG
            return self

        monkeypatch.setattr(module, "Kube", opened)
        return self

    @property
    def api(self) -> FakeApi:
        return FakeApi(self)

    core = apps = batch = resource = api

    def get(self, read: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        with explained():
            return read(*arguments, **options)

    def log(self, namespace: str, pod: str, container: str | None = None) -> str:
        with explained():
            self.api.answer("read_namespaced_pod_log")
            _one(self.pods, pod, namespace)
        said = self.logs.get(pod, "")
        if isinstance(said, str):
            return said
        return said.pop(0) if len(said) > 1 else said[0]

    def execute(self, namespace: str, pod: str, script: str, container: str | None = None) -> str:
        with explained():
            self.api.answer("connect_get_namespaced_pod_exec")
            _one(self.pods, pod, namespace)
        self.ran.append(pod)
        return self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]

    def text(self, path: str) -> str:
        assert path == "/metrics"
        with explained():
            self.api.answer("metrics")
        return self.metrics

    def wait(
        self,
        lister: Callable[..., Any],
        until: Callable[[list[Any]], bool],
        seconds: float,
        what: str = "",
        **selection: Any,
    ) -> list[Any]:
        while True:
            found: list[Any] = self.get(lister, **selection).items
            if until(found) or not self.changes:
                return found
            self.changes.pop(0)()

    def wait_for_pod(
        self, namespace: str, name: str, until: Callable[[Any], bool], seconds: float
    ) -> Any:
        found = self.wait(
            self.core.list_namespaced_pod,
            lambda pods: any(until(pod) for pod in pods),
            seconds,
            namespace=namespace,
            field_selector=f"metadata.name={name}",
        )
        return found[0] if found else None


@dataclass
class FakeApi:
    """The calls of the official client that checks make."""

    kube: FakeKube

    def answer(self, call: str) -> None:
        error = self.kube.refusals.get(call) or self.kube.refusals.get("*")
        if error is not None:
            raise error

    def get_code(self) -> Any:
        self.answer("get_code")
        return SimpleNamespace(git_version=self.kube.version)

    def get_api_resources(self) -> Any:
        self.answer("get_api_resources")
        names = self.kube.resources
        return SimpleNamespace(resources=[SimpleNamespace(name=name) for name in names])

    def get_api_versions(self) -> Any:
        self.answer("get_api_versions")
        groups: dict[str, list[Any]] = {}
        for name in self.kube.served:
            version = SimpleNamespace(group_version=name)
            groups.setdefault(name.partition("/")[0], []).append(version)
        return SimpleNamespace(groups=[SimpleNamespace(versions=v) for v in groups.values()])

    def list_node(self) -> Any:
        return self._list("list_node", self.kube.nodes)

    def list_resource_slice(self) -> Any:
        return self._list("list_resource_slice", self.kube.slices)

    def list_device_class(self) -> Any:
        return self._list("list_device_class", self.kube.device_classes)

    def list_namespaced_pod(self, **selection: str) -> Any:
        return self._list(
            "list_namespaced_pod", [*self.kube.pods, *self.kube.driver_pods], **selection
        )

    def list_namespaced_resource_claim(self, **selection: str) -> Any:
        return self._list("list_namespaced_resource_claim", self.kube.claims, **selection)

    def list_resource_claim_for_all_namespaces(self) -> Any:
        return self._list("list_resource_claim_for_all_namespaces", self.kube.claims)

    def list_namespaced_job(self, **selection: str) -> Any:
        return self._list("list_namespaced_job", self.kube.jobs, **selection)

    def list_namespaced_event(self, namespace: str, field_selector: str) -> Any:
        """The events of one reason."""
        self.answer("list_namespaced_event")
        reason = field_selector.removeprefix("reason=")
        return SimpleNamespace(items=[e for e in self.kube.events if e.reason == reason])

    def list_namespaced_deployment(self, **selection: str) -> Any:
        return self._list("list_namespaced_deployment", self.kube.deployments, **selection)

    def list_namespaced_daemon_set(self, **selection: str) -> Any:
        return self._list("list_namespaced_daemon_set", self.kube.daemon_sets, **selection)

    def read_namespaced_daemon_set(self, name: str, namespace: str) -> Any:
        self.answer("read_namespaced_daemon_set")
        return _one(self.kube.daemon_sets, name, namespace)

    def read_namespaced_pod(self, name: str, namespace: str) -> Any:
        self.answer("read_namespaced_pod")
        return _one(self.kube.pods, name, namespace)

    def patch_namespaced_pod(self, name: str, namespace: str, body: Any) -> Any:
        self.answer("patch_namespaced_pod")
        pod = _one(self.kube.pods, name, namespace)
        added = body["metadata"]["annotations"]
        pod.metadata.annotations = (pod.metadata.annotations or {}) | added
        self.kube.on_patch(name)
        return pod

    def create_namespaced_resource_claim(
        self, namespace: str, body: Any, dry_run: str | None = None
    ) -> Any:
        """One that is only tried is not kept."""
        self.answer("try_claim" if dry_run else "create_namespaced_resource_claim")
        made = claim(body["metadata"]["name"])
        made.metadata.labels = body["metadata"].get("labels")
        if not dry_run:
            self.kube.claims.append(made)
        return made

    def create_namespaced_pod(self, namespace: str, body: Any) -> Any:
        self.answer("create_namespaced_pod")
        made = pod(body["metadata"]["name"], "Pending")
        made.metadata.labels = body["metadata"].get("labels")
        self.kube.pods.append(made)
        self.kube.on_create(body)
        return made

    def create_namespaced_config_map(self, namespace: str, body: Any) -> Any:
        made = _object("V1ConfigMap", {"metadata": {**body["metadata"], "uid": "uid-of-map"}})
        self.kube.config_maps.append(made)
        return made

    def list_namespaced_config_map(self, **selection: str) -> Any:
        return self._list("list_namespaced_config_map", self.kube.config_maps, **selection)

    def delete_namespaced_config_map(self, name: str, namespace: str) -> None:
        self.kube.config_maps.remove(_one(self.kube.config_maps, name, namespace))

    def delete_namespaced_resource_claim(self, name: str, namespace: str) -> None:
        self.kube.claims.remove(_one(self.kube.claims, name, namespace))

    def delete_namespaced_pod(self, name: str, namespace: str, **_: Any) -> None:
        items = [*self.kube.pods, *self.kube.driver_pods]
        gone = _one(items, name, namespace)
        for pods in (self.kube.pods, self.kube.driver_pods):
            if gone in pods:
                pods.remove(gone)

    def sanitize_for_serialization(self, item: Any) -> Any:
        return client.ApiClient().sanitize_for_serialization(item)

    def _list(self, call: str, items: list[Any], **selection: str) -> Any:
        self.answer(call)
        if namespace := selection.get("namespace"):
            items = [i for i in items if i.metadata.namespace == namespace]
        if field_selector := selection.get("field_selector"):
            name = field_selector.removeprefix("metadata.name=")
            items = [i for i in items if i.metadata.name == name]
        if label_selector := selection.get("label_selector"):
            label, sign, value = label_selector.partition("=")
            labels = [(i, i.metadata.labels or {}) for i in items]
            items = [i for i, has in labels if label in has and (not sign or has[label] == value)]
        return SimpleNamespace(items=list(items))


def _is(item: Any, name: str, namespace: str) -> bool:
    return bool((item.metadata.name, item.metadata.namespace) == (name, namespace))


def _one(items: list[Any], name: str, namespace: str) -> Any:
    found = [item for item in items if _is(item, name, namespace)]
    if not found:
        raise NOT_FOUND
    return found[0]


def findings(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The findings of a result by their id, in order."""
    return {finding["id"]: finding for finding in result["checks"]}


def statuses(result: dict[str, Any]) -> dict[str, str]:
    """Every statement's status; of a skipped one, why it was skipped."""
    return {
        identity: finding["found"] if finding["status"] == "skipped" else finding["status"]
        for identity, finding in findings(result).items()
    }


def _object(kind: str, content: dict[str, Any]) -> Any:
    """As the client makes it of what the API server sends."""
    return client.ApiClient().deserialize(SimpleNamespace(data=json.dumps(content)), kind)


def _metadata(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "uid": f"uid-of-{name}", "namespace": NAMESPACE} | more


def node(name: str, ready: str = "True") -> Any:
    conditions = [{"type": "Ready", "status": ready}]
    return _object("V1Node", {"metadata": _metadata(name), "status": {"conditions": conditions}})


def pod(name: str, phase: str, on: str | None = None) -> Any:
    """A pod; one that is on a node was scheduled."""
    conditions = [{"type": "PodScheduled", "status": "True"}] if on else []
    return _object(
        "V1Pod",
        {
            "metadata": _metadata(name),
            "spec": {"nodeName": on, "containers": []},
            "status": {"phase": phase, "conditions": conditions},
        },
    )


def running(container: str) -> Any:
    """The status of a container that runs and is not ready."""
    state = client.V1ContainerState(running=client.V1ContainerStateRunning())
    return _container(container, state)


def pulling(container: str, reason: str, message: str, image: str = "") -> Any:
    """The status of a container that waits."""
    waiting = client.V1ContainerStateWaiting(reason=reason, message=message)
    return _container(container, client.V1ContainerState(waiting=waiting), image)


def _container(name: str, state: Any, image: str = "") -> Any:
    return client.V1ContainerStatus(
        name=name, image=image, image_id="", ready=False, restart_count=0, state=state
    )


def unschedulable(name: str, message: str) -> Any:
    waiting = pod(name, "Pending")
    waiting.status.conditions = [
        client.V1PodCondition(
            type="PodScheduled", status="False", reason="Unschedulable", message=message
        )
    ]
    return waiting


def event(
    reason: str, pod: str, at: str | None = None, count: int | None = None, message: str = ""
) -> Any:
    """An event of a pod; the scheduler's have a time with microseconds, the kubelet's a count."""
    return _object(
        "CoreV1Event",
        {
            "metadata": _metadata(f"{reason}-{pod}"),
            "involvedObject": {"kind": "Pod", "name": pod, "uid": f"uid-of-{pod}"},
            "reason": reason,
            "message": message,
            "eventTime": at,
            "count": count,
        },
    )


def job(name: str, started: str, completed: str | None) -> Any:
    """A Job; one without a time of completion failed."""
    conditions = [{"type": "Complete" if completed else "Failed", "status": "True"}]
    status = {"startTime": started, "completionTime": completed, "conditions": conditions}
    return _object("V1Job", {"metadata": _metadata(name), "status": status})


def claim(name: str, device: tuple[str, str] | None = None, users: Sequence[str] = ()) -> Any:
    """A claim, with the device that it has as (pool, name), reserved for these pods."""
    reserved = [{"resource": "pods", "name": user, "uid": f"uid-of-{user}"} for user in users]
    status = {"allocation": allocation(*device), "reservedFor": reserved} if device else None
    return _object(
        "ResourceV1ResourceClaim",
        {"metadata": _metadata(name), "spec": {"devices": {}}, "status": status},
    )


def allocation(pool: str, device: str) -> dict[str, Any]:
    result = {"request": "gpu", "driver": "gpu.nvidia.com", "pool": pool, "device": device}
    return {"devices": {"results": [result]}}


def gpu_slice(
    on: str, gpus: int, generation: int = 1, driver: str = "gpu.nvidia.com", shares: str = ""
) -> Any:
    """A node's slice, with simulated H200s."""
    return _object(
        "V1ResourceSlice",
        {
            "metadata": _metadata(f"{on}-{generation}"),
            "spec": {
                "driver": driver,
                "nodeName": on,
                "pool": {"name": on, "generation": generation, "resourceSliceCount": 1},
                "devices": devices(on, gpus, GPU_PROFILES["h200"], DRIVER_VERSION, shares),
            },
        },
    )


def deployment(name: str, *arguments: str) -> Any:
    """With one container that is started with these arguments."""
    template = {"spec": {"containers": [{"name": "only", "args": [*arguments]}]}}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return _object("V1Deployment", {"metadata": _metadata(name), "spec": spec})


def daemon_set(name: str, ready: int, labels: dict[str, str] | None) -> Any:
    return SimpleNamespace(
        metadata=_object("V1ObjectMeta", _metadata(name, labels=labels)),
        status=SimpleNamespace(number_ready=ready),
    )


def device_class(name: str) -> Any:
    return _object("V1DeviceClass", {"metadata": _metadata(name), "spec": {}})
