"""Module 0 on a cluster that is there: whether the lab may use it, before anything is made on it.

Reads only. Parameters: stack, kubeconfig and context (as configured), driver (name by which its
devices are known), chart (its name), driverChart (its reference), plugin (its DaemonSet), install
(whether the lab brings the driver), usesDriver (whether it needs one), driverNamespace (where it
would bring it), namespaces (which the lab will make), modules (id → its namespace), outside (what
the driver's chart makes beside them: "apiVersion Kind name"), makes (permissions for all that the
graph makes, see kube/permissions.py), target (UUID, "" where no module needs a GPU), featureGates
("Name=true" strings).
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from checks.modules import cluster
from checks.prerequisites import embedded
from checks.prerequisites import existing_permissions as allowed
from checks.prerequisites.cluster_look import ANSWER_SECONDS, NOBODY, NOT_FOUND, UNAUTHORIZED, Look
from checks.result import CheckFailed, Checklist, CheckSkipped
from kube import connection, devices, images, kubeconfig, ownership
from kube.client import message
from kube.permissions import in_words
from machine.errors import LabError

NAMED = re.compile(r'User "([^"]+)"')
"""How the API server says whom it has refused something."""
ARCHIVE = ".tools/images/workload.tar"


def run(module: str, parameters: dict[str, Any]) -> dict[str, Any]:
    checklist = Checklist(module)
    with ExitStack() as held:
        look = Look(parameters, held)
        access(checklist, look)
        capability(checklist, look)
        owners(checklist, look)
        if parameters["target"]:
            target(checklist, look)
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


# --- who owns which GPU --------------------------------------------------------------------------


def owners(checklist: Checklist, look: Look) -> None:
    given = look.given
    checklist.verify(
        "gpu-nodes",
        "which nodes have GPUs, and who gives them out",
        lambda: ownership.in_words(look.gpu_nodes),
        needs=["dra-served"],
        expected="",
        remedy="let this user list nodes and ResourceSlices",
    )
    checklist.verify(
        "one-owner",
        "no node's GPUs are given out by a device plugin and by the DRA driver",
        lambda: _one_owner(look),
        needs=["gpu-nodes"],
        expected="one owner a node",
        failure="warning",
        remedy="neither knows what the other gives away; switch the device plugin off on these "
        "nodes: kubectl label node NODE nvidia.com/gpu.deploy.device-plugin=false (GPU Operator)",
    )
    if given["install"]:
        embedded.add_chart(checklist, given["driverChart"])
        checklist.verify(
            "driver-not-there",
            "no driver is there that the lab's would get in the way of",
            lambda: _no_driver(look),
            needs=["gpu-nodes"],
            expected=f"no {given['chart']} but this lab's",
            remedy="use the one that is there: set installDriver to false",
        )
    elif given["usesDriver"]:
        checklist.verify(
            "driver-there",
            "the DRA driver is there",
            lambda: _driver(look),
            needs=["gpu-nodes"],
            expected=f"devices of {given['driver']}",
            remedy="install it as your cluster does, or have the lab bring it: set installDriver "
            "to true",
        )


def _one_owner(look: Look) -> str:
    both = ownership.of_both(look.gpu_nodes)
    if look.given["install"]:  # the driver will run on every node with GPUs
        both = [str(node) for node in look.gpu_nodes if node.plugin]
    if both:
        raise CheckFailed(", ".join(both))
    return "no device plugin beside the driver"


def _driver(look: Look) -> str:
    if not look.published:
        raise CheckFailed("no ResourceSlice of it")
    found = [ownership.described(item, look.given["chart"]) for item in look.drivers]
    where = ", ".join(f"{each['namespace']}/{each['plugin']} {each['version']}" for each in found)
    return f"{len(look.published)} devices; {where.strip() or 'its DaemonSet is not known'}"


def _no_driver(look: Look) -> str:
    found = [ownership.described(item, look.given["chart"]) for item in look.drivers]
    if found:
        raise CheckFailed(", ".join(f"{each['namespace']}/{each['plugin']}" for each in found))
    ours = look.is_ours(look.given["driverNamespace"])
    real = [node.name for node in look.gpu_nodes if node.published and not node.simulated]
    if real and not ours:
        raise CheckFailed(f"devices of {look.given['driver']} on {', '.join(real)}")
    taken = [each for each in look.given["outside"] if _of_another(look, each)]
    if taken:
        raise CheckFailed(f"there already: {', '.join(taken)}")
    return "only this lab's" if ours else "none"


def _of_another(look: Look, thing: str) -> bool:
    """Whether that object is there and was not made by this lab's release."""
    found = ownership.there(look.kube, thing)
    if found is None:
        return False
    annotations = found["metadata"].get("annotations", {})
    namespace = look.given["driverNamespace"]
    ours = annotations.get(ownership.RELEASED_IN) == namespace and look.is_ours(namespace)
    return not ours


# --- the one GPU ---------------------------------------------------------------------------------


def target(checklist: Checklist, look: Look) -> None:
    simulated = checklist.holds("gpu-nodes") and look.simulated
    checklist.verify(
        "target-published",
        "the GPU that is named is published, by one driver on one node",
        lambda: _target(look),
        needs=["gpu-nodes"],
        expected=look.given["target"],
        simulated=simulated,
        remedy="set target to the UUID of one of them",
    )
    checklist.verify(
        "target-free",
        "no other claim has it",
        lambda: _free(look),
        needs=["target-published"],
        expected="no claim but this lab's",
        simulated=simulated,
        remedy="wait until that claim is released, or set target to another GPU",
    )
    checklist.verify(
        "target-node-usable",
        "its node runs the lab's pods",
        lambda: _usable(look),
        needs=["target-published"],
        expected="ready, neither cordoned nor tainted",
        simulated=simulated,
        remedy="set target to a GPU of another node, or mend it (kubectl uncordon, kubectl taint)",
    )
    if not simulated:
        checklist.verify(
            "workload-image",
            "its node has the image of the lab's pods",
            lambda: _image(look),
            needs=["target-published"],
            expected=look.given["workloadImage"],
            failure="warning",
            remedy=f"leave {images.KEY} empty for a public image; or copy {ARCHIVE} (make "
            "setup-host) there, and run: ctr -n k8s.io images import workload.tar",
        )


def _device(look: Look) -> devices.Device:
    found = look.target
    if found is None and look.given["install"]:
        raise CheckSkipped("known when the driver is installed")
    if found is None:
        there = [f"{device.uuid} on {device.node}" for device in look.published if device.uuid]
        more = f" and {len(there) - 8} more" if len(there) > 8 else ""
        raise CheckFailed(f"not published; there are {', '.join(there[:8]) or 'none'}{more}")
    return found


def _target(look: Look) -> str:
    device = _device(look)
    return f"{device.driver} {device.name} on {device.node} ({device.product})"


def _free(look: Look) -> str:
    claims = look.kube.get(look.kube.resource.list_resource_claim_for_all_namespaces).items
    found = ownership.holders(claims, _device(look))
    others = [claim for claim in found if not look.is_ours(claim.partition("/")[0])]
    if others:
        raise CheckFailed(f"allocated to {', '.join(others)}")
    return "free"


def _usable(look: Look) -> str:
    name = _device(look).node
    if name not in look.nodes:
        raise CheckFailed(f"there is no node {name}")
    if why := ownership.unusable(look.nodes[name]):
        raise CheckFailed(f"{name}: {why}")
    return name


def _image(look: Look) -> str:
    """A node lists its largest images only, so this one may be there all the same. One of a
    registry is fetched by the node; whether it can is not known before."""
    node, wanted = look.nodes[_device(look).node], look.given["workloadImage"]
    names = [name for image in node.status.images or [] for name in image.names or []]
    _, _, digest = wanted.partition("@")
    telling = digest or wanted.partition("/")[2] or wanted
    if any(name.endswith(telling) for name in names):
        return str(wanted)
    if wanted.startswith(images.OF_SET_UP):
        raise CheckFailed(f"{node.metadata.name} does not list it")
    raise CheckSkipped(
        f"{node.metadata.name} does not list it; it is pulled when a pod starts there"
    )


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
