"""A DRA driver as a Helm release, and the gate on the devices that it publishes."""

import json
from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
from pulumi_command import local

from components import driver_profile, program, sources, webhook
from components.drivers import attributes, values
from components.lab_context import GpuDriver, LabContext
from components.manifests import KubernetesObject

PUBLISH_SECONDS, SIMULATED_SECONDS = 120, 60
"""On a real node the driver's plugin has to be fetched and started first."""


class DraDriver(pulumi.ComponentResource):
    """The lab's driver, in a namespace of its own.

    publishers: the slices, where something else than the chart's plugin publishes them.
    """

    def __init__(self, lab: LabContext, *, publishers: Sequence[KubernetesObject] = ()) -> None:
        # The chart's pods need nodes that run them.
        opts = lab.objects(None, *lab.nodes.made)
        super().__init__("dra-workshop:driver:DraDriver", "driver", None, opts)
        settings, kind = lab.settings, lab.kind_of_driver
        child = lab.objects(self, *lab.nodes.made)
        release = _release(lab, _namespace(lab, child), child)
        installed: list[pulumi.Resource] = [release, *publishers]
        if settings.webhook and lab.kind.runs_webhook:
            installed.append(webhook.register(lab.cluster.webhook, child))
        revision = release.status["revision"].apply(str)
        identity = [revision, *(publisher.uid for publisher in publishers)]
        if lab.may_change_driver:
            # An update that was killed may have left it otherwise, whatever this one is to do.
            set_back = driver_profile.run_with(
                lab,
                "driver-as-configured",
                child,
                shares=settings.consumable_shares,
                after=installed,
            )
            installed.append(set_back)
        gate, gpu = devices_published(
            lab,
            kind.name,
            identity,
            pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=installed)),
            SIMULATED_SECONDS if publishers else PUBLISH_SECONDS,
        )
        # Not one Output: a preview shows what is known of it.
        facts: dict[str, pulumi.Input[Any]] = {
            "name": release.name,
            "chart": kind.name,
            "version": release.status["version"],
            "namespace": release.namespace,
        }
        if lab.cluster.owned:
            counted = pulumi.Output.all(lab.nodes.names, lab.nodes.gpus_per_node)
            facts["devices"] = counted.apply(lambda each: len(each[0]) * each[1])
        else:
            facts["outside"] = lab.outside
        self.driver = GpuDriver(
            owned=True,
            namespace=kind.name,
            plugin=kind.plugin,
            version=settings.driver_version,
            attributes=attributes(settings.driver, settings.driver_version),
            classes=list(kind.classes),
            installed=installed,
            identity=identity,
            ready=gate,
            gpu=gpu,
            facts=facts,
        )
        self.register_outputs({"facts": facts})


def _namespace(lab: LabContext, opts: pulumi.ResourceOptions) -> KubernetesObject:
    # The kubelet plugin is privileged, as it must be.
    labels = {"pod-security.kubernetes.io/enforce": "privileged"} | lab.cluster.namespace_labels
    metadata = {"name": lab.kind_of_driver.name, "labels": labels}
    return KubernetesObject(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, "driver", opts
    )


def _release(
    lab: LabContext, namespace: KubernetesObject, opts: pulumi.ResourceOptions
) -> k8s.helm.v3.Release:
    settings, in_chart = lab.settings, None
    if lab.webhook_in_chart:
        in_chart = webhook.in_chart(lab.cluster.kubeconfig, namespace, opts)
    return k8s.helm.v3.Release(
        "driver",
        name=lab.kind_of_driver.name,
        namespace=namespace.metadata["name"],
        chart=settings.driver_chart,
        version=settings.driver_version,
        values=values(
            settings.driver,
            settings.driver_version,
            lab.nodes.gpus_per_node,
            lab.nodes.driver_root,
            shared=not lab.cluster.owned,
            mocked=lab.mocked,
            webhook=in_chart,
            shares=settings.consumable_shares,
        ),
        # Only ComputeDomains have CRDs, and Helm would never remove them.
        skip_crds=True,
        # Helm would look again only every two seconds, and by the chart's own rules a plugin
        # that does not run counts as ready. The gate below waits for what matters: devices.
        skip_await=True,
        opts=pulumi.ResourceOptions.merge(
            opts,
            # Such a cluster takes the release away when it goes. When it is made anew the
            # release is not there to be uninstalled, which would be an error.
            pulumi.ResourceOptions(retain_on_delete=lab.cluster.disposable is not None),
        ),
    )


def devices_published(
    lab: LabContext,
    namespace: pulumi.Input[str],
    subjects: Sequence[pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
    seconds: int = PUBLISH_SECONDS,
) -> tuple[local.Command, pulumi.Output[dict[str, str]]]:
    """The gate, and the GPU that modules use: its uuid and its node.

    On an owned cluster every GPU of the nodes must be published before it opens, on a shared one
    the target. namespace: of the driver's pods; subjects: change when the driver was installed
    anew; seconds: how long the gate waits.
    """
    # After a restart the chart's webhook may come back later than the API server that asks it.
    answers = {"webhook": True, "start_id": lab.cluster.start_id} if lab.webhook_in_chart else {}
    given = pulumi.Output.all(
        stack=lab.settings.stack,
        kubeconfig=lab.cluster.kubeconfig,
        namespace=namespace,
        driver=lab.kind_of_driver.domain,
        nodes=lab.nodes.names,
        clusterOwned=lab.cluster.owned,
        gpusPerNode=lab.nodes.gpus_per_node,
        target=lab.settings.target,
        gpu=lab.known_target,
        seconds=seconds,
        subjects=list(subjects),
        memoryLimit=lab.memory_limit,
        consumableShares=lab.consumable_shares,
        digest=program.digest(*sources.of_check("driver")),
        **answers,
    )
    gate = program.run("devices-published", "checks gate-devices", given, opts)
    return gate, gate.stdout.apply(json.loads)
