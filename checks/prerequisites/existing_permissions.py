"""Whether a user may do all that the lab does on a cluster that it shares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from checks import pod_scenario, shared_driver
from checks.modules import cluster, mps_percentage, mps_sharing
from kube import ownership
from kube.client import ANSWER_SECONDS, Kube
from kube.permissions import Permission, Permissions, on, within

IN_MODULE: dict[str, Permissions] = {
    "3": pod_scenario.PERMISSIONS,
    "4": pod_scenario.PERMISSIONS + mps_sharing.PERMISSIONS,
    "5": pod_scenario.PERMISSIONS + mps_percentage.PERMISSIONS,
}
"""What the module's checks do in its namespace."""
IN_DRIVER: dict[str, Permissions] = {"4": mps_sharing.IN_DRIVER}
"""And in the driver's."""
RBAC = "rbac.authorization.k8s.io"


def needed(given: dict[str, Any], driver_namespace: str, simulated: bool) -> set[Permission]:
    """All that the lab does, by the parameters of checks/prerequisites/existing.py.
    driver_namespace: "" where it is not known; simulated: whether all its pods run on simulated
    nodes."""
    found = {Permission.parse(each) for each in given["makes"]}
    found |= {*ownership.PERMISSIONS, *cluster.PERMISSIONS}
    if given["usesDriver"]:
        found |= {*shared_driver.PERMISSIONS, *within(driver_namespace, shared_driver.IN_DRIVER)}
    for module, namespace in given["modules"].items():
        found |= {*within(namespace, IN_MODULE[module])}
        found |= {*within(driver_namespace, IN_DRIVER.get(module, ()))}
    return {replace(each, real=False) for each in found if not (each.real and simulated)}


def escalation(driver_namespace: str) -> Permissions:
    """What makes the roles of the driver's chart for who has not all that they give. The API server
    looks for it by itself, so that its log does not have it."""
    clusterwide = on("clusterroles", "escalate", "bind", group=RBAC)
    return (*clusterwide, *within(driver_namespace, on("roles", "escalate", "bind", group=RBAC)))


def refused(kube: Kube, wanted: Iterable[Permission]) -> list[Permission]:
    """Those that the user does not have. What is allowed everywhere is asked for once."""
    found, everywhere = [], {}
    for each in sorted(wanted):
        general = replace(each, namespace="")
        if general not in everywhere:
            everywhere[general] = _may(kube, general)
        if not everywhere[general] and (each == general or not _may(kube, each)):
            found.append(each)
    return found


def _may(kube: Kube, wanted: Permission) -> bool:
    """What the API server says; where it does not say, the update will."""
    resource, _, subresource = wanted.resource.partition("/")
    attributes = {
        "verb": wanted.verb,
        "group": wanted.group,
        "resource": resource,
        "subresource": subresource,
        "namespace": wanted.namespace,
    }
    if resource == "namespaces":  # a namespace is named by itself
        attributes["name"] = wanted.namespace
    review = {"spec": {"resourceAttributes": attributes}}
    try:
        api = client.AuthorizationV1Api(kube.api)
        answer = api.create_self_subject_access_review(review, _request_timeout=ANSWER_SECONDS)
    except ApiException:
        return True
    return bool(answer.status.allowed)
