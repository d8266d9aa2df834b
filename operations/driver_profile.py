"""Has NVIDIA's driver run in another way for a while: with other feature gates and shares.

Its DaemonSet is changed where it is: Helm looks at it again only when the values of its release
change. Until the driver runs again as it is configured the cluster has no start id. So where an
update breaks off or is killed in between, the next one takes the cluster for started anew: it sets
the driver back before any module uses it, and verifies everything again.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from kube import devices
from kube.client import Kube
from kube.errors import KubeError
from kube.ownership import users
from kube.pods import explain_unready
from machine import cluster_state
from machine.files import write_text
from operations.common import prefixed

GATES, SHARES = "FEATURE_GATES", "CONSUMABLE_SHARES"
FREE_SECONDS, ROLLOUT_SECONDS, PUBLISHED_SECONDS = 60.0, 120.0, 60.0
Variables = Mapping[str, str | None]
"""Of a container's environment, None for one that is not to be there."""


@dataclass(frozen=True)
class Specification:
    """namespace, plugin (DaemonSet), driver: as in GpuDriver; nodes, gpus_per_node: that publish;
    gates, shares: with which it is to run, "" for no shares; webhook: Deployment of the chart that
    runs it, webhook_gates: of the one that the cluster runs, "" where there is none; start_id: of
    the cluster where this is how the driver is configured, "" where it is not; run: of the check
    that needs it, "" for whenever the cluster was started; namespaces: of the lab's
    pods."""

    stack: str
    kubeconfig: str
    namespace: str
    plugin: str
    driver: str
    nodes: list[str]
    gpus_per_node: int
    gates: dict[str, bool]
    shares: str
    webhook: str
    webhook_gates: str
    start_id: str
    run: str
    namespaces: list[str] = field(default_factory=list)


def use(wanted: Specification) -> str:
    """Have the driver run so, once nothing has a device of it; returns what was done. Raises
    LabError at a deadline."""
    kube = Kube(wanted.kubeconfig)
    if not wanted.start_id:
        cluster_state.end(wanted.stack)
    gates = _as_in_the_chart(wanted.gates)
    variables: Variables = {GATES: gates, SHARES: wanted.shares or None}
    plugin = _Workload(kube, "daemon_set", wanted.namespace, wanted.plugin, "gpus")
    changed = not plugin.has(variables)
    if changed:
        if not wanted.run:
            _remove_pods(kube, wanted)
        _wait_until_free(kube, wanted)
        plugin.change(variables)
    with prefixed("the driver does not run as it was to"):
        # One that is just being installed is waited for, and told of, by the gate on devices.
        if changed or wanted.run:
            plugin.wait()
            _wait_until_published(kube, wanted)
        _tell_webhook(kube, wanted, gates)
    if wanted.start_id:
        write_text(cluster_state.RUN / wanted.stack / cluster_state.START_ID, wanted.start_id)
    return f"{GATES}={gates} {SHARES}={wanted.shares}" if changed else "it runs so already"


def _as_in_the_chart(gates: Mapping[str, bool]) -> str:
    return "".join(f"{name}={str(on).lower()}," for name, on in sorted(gates.items()))


def _tell_webhook(kube: Kube, wanted: Specification, gates: str) -> None:
    """It would refuse what belongs to a gate that is off."""
    if wanted.webhook:
        webhook = _Workload(kube, "deployment", wanted.namespace, wanted.webhook, "webhook")
        if not webhook.has({GATES: gates}):
            webhook.change({GATES: gates})
        if wanted.run:
            webhook.wait()
    if wanted.webhook_gates:
        from operations.embedded import cluster

        cluster.tell_webhook(wanted.stack, wanted.webhook_gates)


@dataclass(frozen=True)
class _Workload:
    """A DaemonSet or Deployment of the chart, and the container that knows gates and shares."""

    kube: Kube
    kind: str
    namespace: str
    name: str
    container: str

    def has(self, variables: Variables) -> bool:
        found = self._call("read", self.name, self.namespace)
        (container,) = (c for c in found.spec.template.spec.containers if c.name == self.container)
        present = {variable.name: variable.value for variable in container.env}
        return all(present.get(name) == value for name, value in variables.items())

    def change(self, variables: Variables) -> None:
        env = [
            {"name": name, "value": value} if value else {"name": name, "$patch": "delete"}
            for name, value in variables.items()
        ]
        pod = {"containers": [{"name": self.container, "env": env}]}
        self._call("patch", self.name, self.namespace, {"spec": {"template": {"spec": pod}}})

    def wait(self) -> None:
        """Until all its pods are of the latest change and ready. Raises KubeError."""
        found = self.kube.wait(
            getattr(self.kube.apps, f"list_namespaced_{self.kind}"),
            lambda found: all(map(_is_rolled_out, found)),
            ROLLOUT_SECONDS,
            what=f"{self.namespace}/{self.name}",
            namespace=self.namespace,
            field_selector=f"metadata.name={self.name}",
        )
        if not all(map(_is_rolled_out, found)):
            why = explain_unready(self.kube, self.namespace)
            text = f"after {ROLLOUT_SECONDS:.0f} s {self.name} is not ready"
            raise KubeError(": ".join(filter(None, (text, why))))

    def _call(self, verb: str, *arguments: Any) -> Any:
        return self.kube.get(getattr(self.kube.apps, f"{verb}_namespaced_{self.kind}"), *arguments)


def _is_rolled_out(workload: Any) -> bool:
    status = workload.status
    if hasattr(status, "desired_number_scheduled"):
        wanted = status.desired_number_scheduled
        counts = [status.updated_number_scheduled, status.number_ready]
    else:
        wanted = workload.spec.replicas
        counts = [status.updated_replicas, status.ready_replicas, status.replicas]
    seen = (status.observed_generation or 0) >= workload.metadata.generation
    return bool(seen and all(count == wanted for count in counts))


def _remove_pods(kube: Kube, wanted: Specification) -> None:
    """Those that a check which broke off has left with a device; all checks make new ones."""
    for claim in kube.get(kube.resource.list_resource_claim_for_all_namespaces).items:
        namespace = claim.metadata.namespace
        if namespace in wanted.namespaces and users([claim], wanted.driver):
            for user in claim.status.reserved_for or []:
                with suppress(KubeError):  # it has gone by itself
                    kube.get(kube.core.delete_namespaced_pod, user.name, namespace)


def _wait_until_free(kube: Kube, wanted: Specification) -> None:
    """A plugin that is started anew knows what it has prepared, but not what its new gates make of
    it: an MPS daemon would stay, as would the compute mode of its GPU."""
    claims = kube.wait(
        kube.resource.list_resource_claim_for_all_namespaces,
        lambda claims: not users(claims, wanted.driver),
        FREE_SECONDS,
        what=f"the end of all claims for devices of {wanted.driver}",
    )
    if held := users(claims, wanted.driver):
        raise KubeError(
            f"the driver is not changed: after {FREE_SECONDS:.0f} s its devices are held by "
            f"{', '.join(held)}"
        )


def _wait_until_published(kube: Kube, wanted: Specification) -> None:
    found = devices.wait_for(
        kube,
        wanted.nodes,
        wanted.gpus_per_node,
        PUBLISHED_SECONDS,
        wanted.driver,
        wanted_shares=wanted.shares,
    )
    for device in found:
        if (shares := devices.shares(device)) != wanted.shares:
            raise KubeError(f"{device.node}/{device.name} is published with shares '{shares}'")
