"""A cluster that the stack makes and removes: its Commands, and the provider for what is on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import program
from machine import cluster_state, identity


@dataclass(frozen=True, kw_only=True)
class OwnClusterArgs:
    """group: of `python -m operations` that has create, revive and down; specification: what makes
    another cluster when it changes; disposable: whether its objects go with it, because nothing
    has to be undone for them; create: how long that may take, such as 3m."""

    group: str
    specification: pulumi.Input[dict[str, Any]]
    disposable: bool
    create: str


class OwnCluster(pulumi.ComponentResource):
    """Implements `components.cluster.Cluster`.

    A changed specification is an update in place, not a replacement: to replace a cluster the
    engine would first have to delete every object on it, through a provider that it has closed by
    then (pulumi 3.259.0).
    """

    owned = True
    kubeconfig: str
    provider: k8s.Provider
    cluster_id: pulumi.Output[str]
    cluster_state: str
    facts: pulumi.Output[dict[str, Any]]
    disposable: pulumi.Resource | None

    def __init__(self, kind: str, args: OwnClusterArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__(f"dra-workshop:cluster:{kind}", "cluster", None, opts)
        stack = pulumi.get_stack()
        limit = args.create
        command = program.run(
            "cluster",
            f"operations {args.group} create",
            args.specification,
            pulumi.ResourceOptions(
                parent=self,
                depends_on=opts.depends_on,
                custom_timeouts=pulumi.CustomTimeouts(create=limit, update=limit, delete="2m"),
            ),
            delete=f"operations {args.group} down --stack {stack}",
        )
        self.disposable = command if args.disposable else None
        self.facts = command.stdout.apply(identity.parse_facts)
        self.cluster_id = self.facts["cluster_id"]
        # Not an input of the Command above: a changed input makes its output unknown in a preview,
        # which would show every object on the cluster as replaced.
        self.start_id = cluster_state.of(stack)
        running = program.run(
            "cluster-running",
            f"operations {args.group} revive",
            pulumi.Output.all(stack=stack, cluster_id=self.cluster_id, start_id=self.start_id),
            pulumi.ResourceOptions(
                parent=self,
                depends_on=[command],
                custom_timeouts=pulumi.CustomTimeouts(create="3m", update="3m"),
            ),
        )
        self.running: pulumi.Resource = running
        self.namespace_labels: Mapping[str, pulumi.Input[str]] = {}
        self.kubeconfig = str(Path(".run") / stack / cluster_state.KUBECONFIG)
        self.provider = k8s.Provider(
            "cluster",
            kubeconfig=self.kubeconfig,
            # Objects belong to one cluster id of the cluster: on another they are made anew.
            cluster_identifier=self.cluster_id,
            # After a kill there may be objects that the state does not know.
            upsert_existing_objects=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[running]),
        )
        self.register_outputs({"facts": self.facts})
