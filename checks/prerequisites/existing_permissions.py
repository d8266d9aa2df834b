"""Whether a user may do all that the lab does on a cluster that it shares."""

from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from kube import ownership
from kube.client import ANSWER_SECONDS, Kube
from kube.permissions import Permission, Permissions, on, within
from machine.programs import CHECKS

RBAC = "rbac.authorization.k8s.io"


def needed(given: dict[str, Any], driver_namespace: str, simulated: bool) -> set[Permission]:
    """All that the lab does, by the parameters of checks/prerequisites/existing.py.

    driver_namespace: "" where it is not known; simulated: whether all its pods run on simulated
    nodes.
    """
    found = {*map(Permission.parse, given["makes"]), *ownership.PERMISSIONS}
    for module in given["modules"].values():
        for program in (import_module(CHECKS[name]) for name in module["checks"]):
            for namespace in module["namespaces"] or [""]:
                found |= {*within(namespace, program.PERMISSIONS)}
            found |= {*within(driver_namespace, getattr(program, "IN_DRIVER", ()))}
            if given["daemonNamespace"]:
                found |= {*within(given["daemonNamespace"], getattr(program, "IN_DAEMON", ()))}
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
