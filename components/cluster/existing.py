"""A cluster that exists already, by a context of a kubeconfig. Others use it too: the lab keeps to
its own namespaces, to one GPU, and to the cluster-scoped objects of the driver's chart if it
installs the driver. Attached to and detached from by operations/existing/cluster.py.
"""

from collections.abc import Sequence

import pulumi

from components import chart, manifests, mps_daemon, program, sources
from components.check import Program
from components.cluster.base import ClusterKind
from components.cluster.cluster import Cluster
from components.existing_driver import ExistingDriver
from components.lab_context import MPS_NAMESPACE, GpuDriver, GpuNodes, LabContext
from components.modules.registry import Module
from components.workload import RUN
from kube.permissions import Permissions


class Existing(ClusterKind):
    """A cluster that others use too."""

    def prerequisites(self, lab: LabContext) -> list[Program]:
        settings, kind = lab.settings, lab.kind_of_driver
        installs = settings.install_driver and lab.needs_driver
        namespaces = [name for module in lab.modules for name in module.namespaces]
        checks = [name for module in lab.modules for name in module.checks]
        daemons: list[str] = []
        of_daemons: Permissions = ()
        if lab.runs_mps_daemon:
            daemons = [MPS_NAMESPACE]
            clients = [module for module in lab.modules if module.id in ("4", "5")]
            of_daemons = mps_daemon.needed(name for each in clients for name in each.namespaces)
        makes: pulumi.Input[list[str]] = _made(lab.modules, of_daemons)
        if installs:
            objects = chart.render(lab)
            lab.outside = objects.apply(chart.outside)
            makes = objects.apply(
                lambda rendered: _made(
                    lab.modules, (*of_daemons, *chart.permissions(kind.name, rendered))
                )
            )
        parameters = {
            "stack": settings.stack,
            "kubeconfig": settings.kubeconfig,
            "context": settings.context,
            "driver": kind.domain,
            "chart": kind.name,
            "driverChart": settings.driver_chart,
            "plugin": kind.plugin,
            "install": installs,
            "usesDriver": lab.needs_driver,
            "driverNamespace": kind.name,
            "namespaces": [*([kind.name] if installs else []), *namespaces, *daemons],
            "daemonNamespace": "".join(daemons),
            "modules": {
                each.id: {"namespaces": each.namespaces, "checks": each.checks}
                for each in lab.modules
            },
            "digest": program.digest(*sources.of_check(*checks)),
            "makes": makes,
            "outside": lab.outside,
            "target": settings.target,
            "workloadImage": settings.workload_image,
            "featureGates": list(settings.feature_gates),
        }
        return [("existing", parameters)]

    def provide(self, lab: LabContext, opts: pulumi.ResourceOptions) -> None:
        settings, kind = lab.settings, lab.kind_of_driver
        lab.cluster = cluster = Cluster(
            "ExistingCluster",
            opts,
            create="existing attach",
            restart="existing renew",
            remove="existing detach",
            specification={
                "stack": settings.stack,
                "kubeconfig": settings.kubeconfig,
                "context": settings.context,
                "driver": kind.domain,
                "chart": kind.name,
                "plugin": kind.plugin,
                "install": settings.install_driver,
                "target": settings.target,
                "outside": lab.outside,
            },
            owned=False,
        )
        lab.nodes = GpuNodes(  # the node of the target, as far as it is known
            names=cluster.facts["looked_at"],
            devices=cluster.facts["devices"],
            subjects=[cluster.cluster_id],
            made=[cluster.running],
        )

    def driver(self, lab: LabContext) -> GpuDriver:
        return super().driver(lab) if lab.settings.install_driver else ExistingDriver(lab).driver


def _made(modules: Sequence[Module], others: Permissions) -> list[str]:
    found = set(others)
    for module in modules:
        for namespace in module.namespaces:
            found |= {*manifests.permissions(module.stack, namespace, [RUN])}
    return [str(each) for each in sorted(found)]
