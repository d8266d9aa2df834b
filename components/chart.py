"""What the chart of a DRA driver makes on a cluster, known before it is installed."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import manifests
from components.drivers import values
from components.lab_context import LabContext
from kube.permissions import Permission, Permissions, on, within

NOWHERE = ".run/no-cluster"
"""A kubeconfig that does not exist: charts are rendered without a cluster."""
SERVED = [
    "resource.k8s.io/v1",
    "resource.k8s.io/v1/DeviceClass",
    "admissionregistration.k8s.io/v1",
    "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy",
]
INSIDE = (
    "ConfigMap",
    "DaemonSet",
    "Deployment",
    "Job",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Role",
    "RoleBinding",
    "Secret",
    "Service",
    "ServiceAccount",
    "StatefulSet",
)
"""Kinds that lie in a namespace. Any other that a chart makes is reported: to report too much does
no harm."""
HELM = ("create", "get", "delete")
"""What Helm does with each object of a chart."""
RELEASE = on("secrets", "create", "get", "list", "update", "delete")
"""And where it keeps what it knows of a release."""


def render(lab: LabContext) -> pulumi.Output[list[dict[str, Any]]]:
    """The objects of the chart on a shared cluster.

    Rendered by the Kubernetes provider, without a cluster, so that a preview knows it too.
    """
    settings, driver = lab.settings, lab.kind_of_driver
    chart = settings.driver_chart
    renderer = k8s.Provider("chart-renderer", kubeconfig=NOWHERE)
    options = {
        "chart" if chart.startswith("oci://") else "path": chart,
        "release_name": driver.name,
        "namespace": driver.name,
        "values": values(
            settings.driver,
            settings.driver_version,
            0,
            shared=True,
            shares=settings.consumable_shares,
        ),
        "api_versions": SERVED,
        "kube_version": settings.kubernetes_version,
        "skip_crd_rendering": True,
    }
    answer = pulumi.runtime.invoke_output(
        "kubernetes:helm:template",
        {"jsonOpts": json.dumps(options)},
        pulumi.InvokeOutputOptions(provider=renderer),
    )
    return answer.apply(lambda found: (found or {}).get("result") or [])


def outside(objects: Iterable[Mapping[str, Any]]) -> list[str]:
    """Those that lie in no namespace, each as "apiVersion Kind name"; the renderer writes one on
    all of them."""
    return sorted(
        f"{item['apiVersion']} {item['kind']} {item['metadata']['name']}"
        for item in objects
        if item["kind"] not in INSIDE
    )


def permissions(namespace: str, objects: Iterable[Mapping[str, Any]]) -> Permissions:
    """For bringing these objects of the chart into that namespace of its own, and removing it."""
    found: set[Permission] = {*manifests.of_namespace(namespace), *within(namespace, RELEASE)}
    for each in objects:
        made = manifests.of_kind(each["apiVersion"], each["kind"], HELM)
        found |= {*(within(namespace, made) if each["kind"] in INSIDE else made)}
    return tuple(sorted(found))
