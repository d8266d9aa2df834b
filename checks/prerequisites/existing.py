"""Module 0 on a shared cluster: whether the lab may use it, before anything is made on it.

Reads only. Parameters: stack, kubeconfig and context (as configured), driver (name by which its
devices are known), chart (its name), driverChart (its reference), plugin (its DaemonSet), install
(whether the lab brings the driver), usesDriver (whether it needs one), driverNamespace (where it
would bring it), namespaces (which the lab will make), modules (id → its namespaces, and the checks
that verify it), digest (of these checks' programs), outside (what the driver's chart makes beside
them: "apiVersion Kind name"), makes (permissions for all that the graph makes, see
kube/permissions.py), target (UUID, "" where no module needs a GPU), featureGates ("Name=true"
strings).
"""

import re
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from checks.modules import cluster
from checks.prerequisites import existing_gpus, statements
from checks.prerequisites import existing_permissions as allowed
from checks.prerequisites.cluster_look import ANSWER_SECONDS, Look
from checks.prerequisites.statements import refuse
from checks.result import CheckFailed, Checklist
from kube import connection, devices, kubeconfig, ownership
from kube.client import message
from kube.permissions import in_words
from machine.errors import LabError

UNAUTHORIZED, NOT_FOUND = 401, 404
NOBODY = "system:anonymous"
NAMED = re.compile(r'User "([^"]+)"')
"""How the API server says whom it has refused something."""
TITLES = {
    "kubeconfig-readable": "the kubeconfig can be read",
    "context-known": "the context is in it, with its cluster and user",
    "credentials-made": "the kubeconfig's cluster and user entries can be used",
    "api-reachable": "the API server answers",
    "credentials-accepted": "the API server accepts the credentials",
    "kubernetes-version": "Kubernetes is new enough",
    "dra-served": "resource.k8s.io/v1 is served",
    "feature-gates": "the feature gates are as asked for, as far as the API server tells",
    "namespaces-free": "the lab's namespaces do not exist yet, or are its own",
    "permissions": "this user may do what the lab does",
}
REMEDIES = {
    "kubeconfig-readable": "set kubeconfig to a file that exists, or KUBECONFIG in the environment",
    "context-known": "set context to one of them; `kubectl config get-contexts` lists them",
    "credentials-made": "see that this works: kubectl --context {} auth whoami",
    "api-reachable": "try: kubectl --context {} get --raw /version",
    "credentials-accepted": "log in again, so that this works: kubectl --context {} auth whoami",
    "kubernetes-version": f"upgrade it to {ownership.OLDEST} or later, or use cluster=embedded",
    "dra-served": "switch it on: --runtime-config=resource.k8s.io/v1=true of the API server, and "
    "--feature-gates=DynamicResourceAllocation=true of it, the scheduler, the controller manager "
    "and every kubelet",
    "feature-gates": "switch the gates on the cluster, or take them out of featureGates",
    "namespaces-free": "if they are of a lab of yours, run make destroy there, else: kubectl "
    "--context {} delete namespace NAME",
    "permissions": "have them granted, or use a context with more rights",
}


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    checklist, context = Checklist(module), parameters["context"]
    verify = partial(statements.verify, checklist, TITLES, REMEDIES, about=context)
    with ExitStack() as open_files:
        look = Look(parameters, open_files)
        _add_cluster(verify, look)
        existing_gpus.add(checklist, look)
        if names := ", ".join(parameters["namespaces"]):
            verify("namespaces-free", lambda: _namespaces(look), names, "credentials-accepted")
        verify("permissions", lambda: _permissions(look), "allowed", "credentials-accepted")
    return checklist.to_json()


def _add_cluster(verify: Callable[..., None], look: Look) -> None:
    """The way to the API server, and what that server can do."""
    context = look.given["context"]
    verify("kubeconfig-readable", lambda: look.entries.source, "a kubeconfig")
    verify("context-known", lambda: kubeconfig.server(look.config), context, "kubeconfig-readable")
    verify("credentials-made", lambda: _login(look), "credentials", "context-known")
    verify("api-reachable", lambda: _reachable(look), "an answer", "credentials-made")
    valid = "credentials that are valid"
    verify("credentials-accepted", lambda: _user(look), valid, "api-reachable")
    oldest = f"{ownership.OLDEST} or later"
    verify("kubernetes-version", lambda: _version(look), oldest, "credentials-accepted")
    kinds = ", ".join(sorted(cluster.KINDS))
    verify("dra-served", lambda: cluster.served(look.kube), kinds, "kubernetes-version")
    gates = look.given["featureGates"]
    asked, known = ", ".join(gates) or "any", "kubernetes-version"
    verify("feature-gates", lambda: cluster.visible_gates(look.kube, gates), asked, known)


def _login(look: Look) -> str:
    """A plugin that makes credentials is run for this."""
    _ = look.kube.api
    return connection.kind_of_login(look.config)


def _reachable(look: Look) -> str:
    _ = look.version
    return kubeconfig.server(look.config)


def _user(look: Look) -> str:
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
            text = f"the API server answers {error.status} {message(error)}"
            raise CheckFailed(f"{text}; requests count as anonymous" if named else text) from error
        return named[1]
    if who == NOBODY and connection.kind_of_login(look.config) != connection.NO_LOGIN:
        raise CheckFailed(f"the API server takes this user for {NOBODY}")
    return who


def _version(look: Look) -> str:
    if isinstance(look.version, ApiException):
        raise CheckFailed(f"the API server answers {look.version.status} {look.version.reason}")
    return cluster.at_least(look.version.removeprefix("v"), ownership.OLDEST)


def _namespaces(look: Look) -> str:
    found = [name for name in look.given["namespaces"] if name in look.namespaces]
    ending = [name for name in found if look.namespaces[name].metadata.deletion_timestamp]
    if ending:
        raise CheckFailed(f"still being removed: {', '.join(ending)}; try again in a moment")
    others = [name for name in found if not look.is_ours(name)]
    return refuse(others, "there, and not of this lab: ", "its own" if found else "none is there")


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
        return next((each["namespace"] for each in look.drivers), "")
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
