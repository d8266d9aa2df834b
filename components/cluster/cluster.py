"""A cluster as a resource: the Commands for its life, and the provider for what is on it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import program
from kube.ownership import LAB
from machine import cluster_state, identity


class Cluster(pulumi.ComponentResource):
    """What the rest of the program knows of a cluster.

    owned: whether the lab made it, for itself alone; one that it did not make is shared with
    others; kubeconfig: its path relative to the project; cluster_id: one that changes when the
    cluster was made anew; start_id: one that changes when it had to be restarted; running: the
    resource to depend on; facts: what the stack exports; disposable: the resource that takes all
    objects with it when it is destroyed, None where they must be deleted one by one;
    webhook: where the API server finds NVIDIA's webhook, {} where the cluster runs none.
    namespace_labels: by which the lab's namespaces are known as its own, where the cluster is
    shared.

    create, restart, remove: programs of `python -m operations`; specification: what makes another
    cluster when it changes; running: what restart is told besides, and again when it changes;
    timeout: of create, such as 3m, "" for Pulumi's own.

    A changed specification is an update in place, not a replacement: to replace a cluster the
    engine would first have to delete every object on it, through a provider that it has closed by
    then (pulumi 3.259.0).
    """

    def __init__(
        self,
        kind: str,
        opts: pulumi.ResourceOptions,
        *,
        create: str,
        restart: str,
        remove: str,
        specification: Mapping[str, pulumi.Input[Any]],
        running: Mapping[str, Any] | None = None,
        owned: bool = True,
        disposable: bool = False,
        timeout: str = "",
    ) -> None:
        super().__init__(f"dra-workshop:cluster:{kind}", "cluster", None, opts)
        stack = pulumi.get_stack()
        create_limits = restart_limits = None
        if timeout:
            create_limits = pulumi.CustomTimeouts(create=timeout, update=timeout, delete="2m")
            restart_limits = pulumi.CustomTimeouts(create="3m", update="3m")
        made = program.run(
            "cluster",
            f"operations {create}",
            pulumi.Output.all(**specification),
            pulumi.ResourceOptions(
                parent=self, depends_on=opts.depends_on, custom_timeouts=create_limits
            ),
            delete=f"operations {remove} --stack {stack}",
        )
        self.owned = owned
        self.disposable: pulumi.Resource | None = made if disposable else None
        facts: pulumi.Output[dict[str, Any]] = made.stdout.apply(identity.parse_facts)
        self.webhook = facts.apply(lambda each: dict(each.get("webhook", {})))
        self.facts = facts.apply(lambda all_: {k: all_[k] for k in all_ if k != "webhook"})
        self.cluster_id: pulumi.Output[str] = self.facts["cluster_id"]
        # Not an input of the Command above: a changed input makes its output unknown in a preview,
        # which would show every object on the cluster as replaced.
        self.start_id = cluster_state.of(stack)
        # A shared cluster is not restarted but looked for again.
        given = {"stack": stack, **(running or {})} if owned else specification
        self.running: pulumi.Resource = program.run(
            "cluster-running",
            f"operations {restart}",
            pulumi.Output.all(**given, cluster_id=self.cluster_id, start_id=self.start_id),
            pulumi.ResourceOptions(parent=self, depends_on=[made], custom_timeouts=restart_limits),
        )
        self.namespace_labels = {} if owned else {LAB: self.facts["lab"]}
        self.kubeconfig = str(Path(".run") / stack / cluster_state.KUBECONFIG)
        self.provider = self._make_provider()
        self.register_outputs({"facts": self.facts})

    def _make_provider(self) -> k8s.Provider:
        return k8s.Provider(
            "cluster",
            kubeconfig=self.kubeconfig,
            # Objects belong to one cluster id of the cluster: on another they are made anew.
            cluster_identifier=self.cluster_id,
            # After a kill there may be objects that the state does not know. On a shared cluster
            # what is there already is not ours.
            upsert_existing_objects=self.owned,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[self.running]),
        )
