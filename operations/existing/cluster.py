"""Attaches the lab to a cluster of others and detaches it. Nothing is written on the cluster.

`.run/<stack>/` gets a kubeconfig with the one context that was chosen, and cluster.json: what the
cluster is, and what the lab may use of it.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kubernetes import client

from kube import devices, kubeconfig, ownership
from kube.client import Kube, opened
from kube.errors import KubeError
from machine import identity
from machine.cluster_state import FACTS, KUBECONFIG, RUN, START_ID, make_folder
from machine.errors import LabError
from machine.files import write_json, write_text
from operations.common import prefixed, remove_folder, require_not_being_removed
from results import output

KIND = "existing"
BEFORE = "PULUMI_COMMAND_STDOUT"
"""Environment variable in which the command plugin hands on what was printed the last time."""


@dataclass(frozen=True)
class Specification:
    """kubeconfig: "" for kubectl's own choice; driver: name by which its devices are known;
    chart: its name; plugin: its DaemonSet; install: whether the lab brings it; target: UUID of the
    one GPU that the lab uses, "" if it needs none; outside: what it makes in no namespace."""

    stack: str
    kubeconfig: str
    context: str
    driver: str
    chart: str
    plugin: str
    install: bool
    target: str
    outside: list[str]


def attach(wanted: Specification) -> dict[str, Any]:
    """Look at the cluster and write the files of ours; returns the facts. Raises LabError, having
    changed nothing, if it cannot be looked at or if the lab is on another cluster."""
    stack, context = wanted.stack, wanted.context
    config = _choose(wanted.kubeconfig, context)
    folder = RUN / stack
    with opened(config, folder) as kube, prefixed(f"context '{context}'"):
        facts = _facts(wanted, config, kube)
    _require_same(stack, context, facts["cluster_id"], _read_facts(folder).get("cluster_id", ""))
    _write_kubeconfig(folder, config)
    write_json(folder / FACTS, facts)
    return facts


def renew(wanted: Specification, cluster_id: str, start_id: str) -> None:
    """Write our files, lost or outdated as they may be, and note the start id. Raises LabError if
    the cluster is another one than the lab was made on."""
    require_not_being_removed(wanted.stack)
    known = {"cluster_id": cluster_id, "source": wanted.kubeconfig, "name": wanted.context}
    restore(wanted.stack, known)
    folder = RUN / wanted.stack
    if not (folder / FACTS).exists():
        attach(wanted)
    write_text(folder / START_ID, start_id)


def revive(stack: str, cluster_id: str, start_id: str) -> None:  # noqa: ARG001 (as of other clusters)
    """See that the cluster can be reached, for whoever has to settle something on it."""
    restore(stack, _read_facts(RUN / stack) | {"cluster_id": cluster_id})


def restore(stack: str, facts: dict[str, Any]) -> None:
    """Write the kubeconfig anew by which the cluster with these facts is reached. Raises LabError
    if its context leads to another cluster now."""
    context, folder = facts["name"], RUN / stack
    config = _choose(facts["source"], context)
    with opened(config, folder) as kube, prefixed(f"context '{context}'"):
        found = _cluster_id(kube)
    _require_same(stack, context, found, facts["cluster_id"])
    _write_kubeconfig(folder, config)


def renew_login(stack: str) -> None:
    """Take over the credentials that the person's kubeconfig has by now. Where that cannot be done
    module 0 says why."""
    facts = _read_facts(RUN / stack)
    if facts.get("kind") == KIND:
        with suppress(LabError):
            restore(stack, facts)


def require_reachable(stack: str) -> bool:
    """Whether the lab is on a cluster of others; then have a kubeconfig that leads to it. Raises
    LabError if that does not answer or is another one now: by name alone the engine would remove
    what is not the lab's."""
    facts = _read_facts(RUN / stack) or identity.in_state(stack)
    if facts.get("kind") != KIND:
        return False
    try:
        restore(stack, facts)
    except LabError as error:
        raise LabError(
            f"{error}; if that cluster is gone for good, forget the lab: source .tools/env && "
            f"pulumi stack rm --force --preserve-config --yes {stack}, rm -r {RUN / stack}, "
            "make setup"
        ) from error
    with prefixed(f"context '{facts['name']}'"):
        _require_unused(stack, facts)
    return True


def _require_unused(stack: str, facts: dict[str, Any]) -> None:
    """Raise LabError if claims of others have devices of a driver that the lab brought: they could
    not give them back once it is gone."""
    if not facts["release"]:
        return
    kube = Kube(str(RUN / stack / KUBECONFIG))
    names = ownership.namespaces_of(kube, facts["lab"])
    claims = kube.get(kube.resource.list_resource_claim_for_all_namespaces).items
    users = ownership.users(claims, facts["domain"])
    if others := [claim for claim in users if claim.partition("/")[0] not in names]:
        raise LabError(
            f"claims of others have devices of the driver that stack {stack} brought: "
            f"{', '.join(others)}; have them removed first"
        )


def detach(stack: str) -> None:
    """See that nothing of the lab is on the cluster any more, and remove the files of ours. Raises
    LabError that names what is left on the cluster."""
    folder = RUN / stack
    if facts := _read_facts(folder):
        if not (folder / KUBECONFIG).exists():
            restore(stack, facts)
        kube = Kube(str(folder / KUBECONFIG))
        with prefixed("whether anything of the lab is left"):
            left = ownership.leftovers(kube, facts["lab"], [facts["release"]], facts["outside"])
        if left:
            raise LabError(f"left on the cluster of context '{facts['name']}': {', '.join(left)}")
    remove_folder(folder)


def _choose(source: str, context: str) -> kubeconfig.Config:
    try:
        return kubeconfig.only(kubeconfig.read(source), context)
    except KubeError as error:
        raise LabError(str(error)) from error


def _write_kubeconfig(folder: Path, config: kubeconfig.Config) -> None:
    make_folder(folder.name)
    kubeconfig.write(folder / KUBECONFIG, kubeconfig.marked(config, folder))


def _read_facts(folder: Path) -> dict[str, Any]:
    """The facts of the cluster on which the lab is: those in our file, or those that were printed
    the last time; {} if it is on none."""
    texts = [os.environ.get(BEFORE, "")]
    if (folder / FACTS).exists():
        texts.insert(0, (folder / FACTS).read_text())
    for text in texts:
        with suppress(ValueError):
            return dict(json.loads(text))
    return {}


def _require_same(stack: str, context: str, found: str, before: str) -> None:
    if before and found != before:
        raise LabError(
            f"context '{context}' leads to another cluster than the one that stack {stack} was "
            f"made on; set context and kubeconfig back and run: make destroy STACK={stack}"
        )


def _cluster_id(kube: Kube) -> str:
    return str(kube.get(kube.core.read_namespace, ownership.FOREVER).metadata.uid)


def _facts(wanted: Specification, config: kubeconfig.Config, kube: Kube) -> dict[str, Any]:
    published = devices.read_published(kube, wanted.driver)
    nodes = ownership.gpu_nodes(kube.get(kube.core.list_node).items, published)
    target = ownership.the_one(published, wanted.target) if wanted.target else None
    where = target.node if target else ""
    return {
        "kind": KIND,
        "name": wanted.context,
        "kubeconfig": str(RUN / wanted.stack / KUBECONFIG),
        "server": kubeconfig.server(config),
        "version": kube.get(client.VersionApi(kube.api).get_code).git_version.removeprefix("v"),
        "cluster_id": _cluster_id(kube),
        "source": wanted.kubeconfig,
        "outside": wanted.outside,
        "release": wanted.chart if wanted.install else "",
        "domain": wanted.driver,
        "lab": identity.of(wanted.stack),
        "nodes": ownership.summary(nodes)
        | {"raw": output.keep(wanted.stack, "gpu-nodes", list(map(asdict, nodes)))},
        # Of what the lab looks at: the target's node, or none where that is not known yet.
        "looked_at": [where] if where else [],
        "devices": ownership.kind_of_devices(nodes, where, wanted.driver),
        "driver": _driver(wanted, kube),
    }


def _driver(wanted: Specification, kube: Kube) -> dict[str, str]:
    """Where the driver of others is, "" where that is not known; {} if the lab brings its own."""
    unknown = {"namespace": "", "plugin": "", "version": ""}
    if wanted.install:
        return {}
    try:
        listed = kube.get(kube.apps.list_daemon_set_for_all_namespaces).items
    except KubeError:  # not everybody may list them
        return unknown
    found = ownership.drivers(listed, wanted.chart, wanted.plugin)
    return ownership.described(found[0], wanted.chart) if found else unknown
