"""NVIDIA's driver, run otherwise for a while, and set back."""

from collections.abc import Sequence

import pulumi

from components import program, webhook
from components.drivers import gate_list, values
from components.lab_context import LabContext


def run_with(
    lab: LabContext,
    name: str,
    opts: pulumi.ResourceOptions,
    *,
    shares: str,
    run: str = "",
    after: Sequence[pulumi.Resource] = (),
) -> pulumi.Resource:
    """A Command of that name that has the driver run with these consumable shares, and with the
    feature gates that belong to them, once no claim has a device.

    run: of the check that needs it, "" for where the driver is to run as it is configured whenever
    the cluster was started. Where it is not as configured, the cluster has no start id until it is
    set back (operations/driver_profile.py).
    """
    settings, kind = lab.settings, lab.kind_of_driver
    version, configured = settings.driver_version, settings.consumable_shares
    wanted = values(settings.driver, version, 0, mocked=lab.mocked, shares=shares)
    own_webhook = settings.webhook and lab.kind.runs_webhook
    given = pulumi.Output.all(
        stack=settings.stack,
        kubeconfig=lab.cluster.kubeconfig,
        namespace=kind.name,
        plugin=kind.plugin,
        driver=kind.domain,
        nodes=lab.nodes.names,
        gpus_per_node=lab.nodes.gpus_per_node,
        gates=wanted["featureGates"],
        shares=shares,
        namespaces=[name for module in lab.modules for name in module.namespaces],
        webhook_gates=gate_list(version, shares) if own_webhook else "",
        webhook=webhook.SERVICE if lab.webhook_in_chart else "",
        start_id=lab.cluster.start_id if shares == configured else "",
        run=run,
    )
    more = pulumi.ResourceOptions(
        depends_on=list(after), custom_timeouts=pulumi.CustomTimeouts(create="6m", update="6m")
    )
    both = pulumi.ResourceOptions.merge(opts, more)
    return program.run(name, "operations driver-profile", given, both)
