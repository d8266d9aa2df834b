"""Module 0 on a cluster that is there: whether the lab may use it, before anything is made on it.

Reads only. Parameters: stack, kubeconfig and context (as configured), driver (name by which its
devices are known), chart (its name), driverChart (its reference), plugin (its DaemonSet), install
(whether the lab brings the driver), usesDriver (whether it needs one), driverNamespace (where it
would bring it), namespaces (which the lab will make), modules (id → its namespaces, and the checks
that verify it), digest (of these checks' programs), outside (what the driver's chart makes beside
them: "apiVersion Kind name"), makes (permissions for all that the graph makes, see
kube/permissions.py), target (UUID, "" where no module needs a GPU), featureGates ("Name=true"
strings).
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from checks.modules import cluster
from checks.prerequisites import existing_gpus
from checks.prerequisites import existing_permissions as allowed
from checks.prerequisites.cluster_look import ANSWER_SECONDS, NOBODY, NOT_FOUND, UNAUTHORIZED, Look
from checks.result import CheckFailed, Checklist
from kube import connection, devices, kubeconfig, ownership
from kube.client import message
from kube.permissions import in_words
from machine.errors import LabError

NAMED = re.compile(r'User "([^"]+)"')
"""How the API server says whom it has refused something."""


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    checklist = Checklist(module)
    with ExitStack() as held:
        look = Look(parameters, held)
        access(checklist, look)
        capability(checklist, look)
        existing_gpus.add(checklist, look)
        room(checklist, look)
    return checklist.to_json()


# --- kubeconfig, credentials, API server -------------------------------------------------------


def access(checklist: Checklist, look: Look) -> None:
    context = look.given["context"]
    checklist.verify(
        "kubeconfig-readable",
        "the kubeconfig can be read",
        lambda: look.entries.source,
        expected="a kubeconfig",
        remedy="set kubeconfig to a file that exists, or KUBECONFIG in the environment",
    )
    checklist.verify(
        "context-known",
        "the context is in it, with its cluster and user",
        lambda: kubeconfig.server(look.config),
        needs=["kubeconfig-readable"],
        expected=context,
        remedy="set context to one of them; `kubectl config get-contexts` lists them",
    )
    checklist.verify(
        "credentials-made",
        "the kubeconfig's cluster and user entries can be used",
        lambda: _usable_login(look),
        needs=["context-known"],
        expected="credentials",
        remedy=f"see that this works: kubectl --context {context} auth whoami",
    )
    checklist.verify(
        "api-reachable",
        "the API server answers",
        lambda: _reachable(look),
        needs=["credentials-made"],
        expected="an answer",
        remedy=f"try: kubectl --context {context} get --raw /version",
    )
    checklist.verify(
        "credentials-accepted",
        "the API server accepts the credentials",
        lambda: _accepted(look),
        needs=["api-reachable"],
        expected="credentials that are valid",
        remedy="log in again as you do for this cluster, so that this works: "
        f"kubectl --context {context} auth whoami",
    )


def _usable_login(look: Look) -> str:
    """A plugin that makes credentials is run for this."""
    _ = look.kube.api
    return connection.kind_of_login(look.config)


def _reachable(look: Look) -> str:
    _ = look.version
    return kubeconfig.server(look.config)


def _accepted(look: Look) -> str:
    """The version may be told to anyone, so something is asked that is for known users only."""
    try:
        review = client.AuthenticationV1Api(look.kube.api)
        whoami = review.create_self_subject_review({}, _request_timeout=ANSWER_SECONDS)
        who = str(whoami.status.user_info.username)
    except ApiException as error:
        if error.status == NOT_FOUND:  # older servers have no such API
            return "not told who this is"
        if error.status == UNAUTHORIZED:
            why = kubeconfig.expired(look.config)
            raise CheckFailed(why or "the API server answers 401 Unauthorized") from error
        # One that refuses says whom it has refused.
        named = NAMED.search(message(error))
        if named is None or named[1] == NOBODY:
            said = f"the API server answers {error.status} {message(error)}"
            raise CheckFailed(f"{said}; requests count as anonymous" if named else said) from error
        return named[1]
    if who == NOBODY and connection.kind_of_login(look.config) != connection.NO_LOGIN:
        raise CheckFailed(f"the API server takes this user for {NOBODY}")
    return who


# --- what the cluster can ------------------------------------------------------------------------


def capability(checklist: Checklist, look: Look) -> None:
    known = "credentials-accepted"
    checklist.verify(
        "kubernetes-version",
        "Kubernetes is new enough",
        lambda: _version(look),
        needs=[known],
        expected=f"{ownership.OLDEST} or later",
        remedy=f"upgrade the cluster to {ownership.OLDEST} or later, or use cluster=embedded",
    )
    checklist.verify(
        "dra-served",
        "resource.k8s.io/v1 is served",
        lambda: cluster.served(look.kube),
        needs=["kubernetes-version"],
        expected=", ".join(sorted(cluster.KINDS)),
        remedy="switch it on: --runtime-config=resource.k8s.io/v1=true of the API server, and "
        "--feature-gates=DynamicResourceAllocation=true of it, the scheduler, the controller "
        "manager and every kubelet",
    )
    asked = look.given["featureGates"]
    checklist.verify(
        "feature-gates",
        "the feature gates are as asked for, as far as the API server tells",
        lambda: cluster.visible_gates(look.kube, asked),
        needs=["kubernetes-version"],
        expected=", ".join(asked) or "any",
        remedy="switch the gates on the cluster, or take them out of featureGates",
    )


def _version(look: Look) -> str:
    if isinstance(look.version, ApiException):
        raise CheckFailed(f"the API server answers {look.version.status} {look.version.reason}")
    return cluster.at_least(look.version.removeprefix("v"), ownership.OLDEST)


# --- room for the lab ----------------------------------------------------------------------------


def room(checklist: Checklist, look: Look) -> None:
    names = look.given["namespaces"]
    if names:
        checklist.verify(
            "namespaces-free",
            "the namespaces that the lab makes are not there yet, or are its own",
            lambda: _namespaces(look),
            needs=["credentials-accepted"],
            expected=", ".join(names),
            remedy="if they are of a lab of yours, run make destroy there, else: kubectl "
            f"--context {look.given['context']} delete namespace NAME",
        )
    checklist.verify(
        "permissions",
        "this user may do what the lab does",
        lambda: _permissions(look),
        needs=["credentials-accepted"],
        expected="allowed",
        remedy="have them granted, or use a context with more rights",
    )


def _namespaces(look: Look) -> str:
    there = [name for name in look.given["namespaces"] if name in look.namespaces]
    going = [name for name in there if look.namespaces[name].metadata.deletion_timestamp]
    if going:
        raise CheckFailed(f"still being removed: {', '.join(going)}; try again in a moment")
    if others := [name for name in there if not look.is_ours(name)]:
        raise CheckFailed(f"there, and not of this lab: {', '.join(others)}")
    return "its own" if there else "none is there"


def _permissions(look: Look) -> str:
    wanted = allowed.needed(look.given, _driver_namespace(look), _all_simulated(look))
    if refused := allowed.refused(look.kube, wanted):
        raise CheckFailed(f"may not {in_words(refused)}")
    escalation = allowed.escalation(look.given["driverNamespace"])
    if look.given["install"] and (barred := allowed.refused(look.kube, escalation)):
        raise CheckFailed(
            f"may not {in_words(barred)}: the API server then lets you create the chart's "
            "roles only if you hold every permission in them",
            warning=True,
        )
    return f"{len(wanted)} of {len(wanted)} allowed"


def _driver_namespace(look: Look) -> str:
    """Where the driver's pods are, "" where that is not known."""
    if look.given["install"]:
        return str(look.given["driverNamespace"])
    try:
        return next((str(item.metadata.namespace) for item in look.drivers), "")
    except LabError:
        return ""


def _all_simulated(look: Look) -> bool:
    """Whether the lab's pods will run on simulated nodes only; False where that is not known."""
    try:
        where = look.target.node if look.target else ""
        kind = ownership.kind_of_devices(look.gpu_nodes, where, look.given["driver"])
    except LabError:
        return False
    return kind == devices.SIMULATED
