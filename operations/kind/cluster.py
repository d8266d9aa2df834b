"""Makes and removes a Kind cluster: Kubernetes in containers of Docker, by the kind program.

`.run/<stack>/` has its kubeconfig, kind.yaml (kind's configuration) and cluster.json (the facts
that the stack exports). Docker tells whose its containers are (kind_docker.py).
"""

import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from machine import docker, gpu_host, identity, kind_docker, kind_gpus, kind_images, kind_places
from machine.cluster_state import KUBECONFIG, RUN, START_ID, STARTED, make_folder, runs
from machine.docker import DockerError
from machine.errors import LabError, removed_on_failure
from machine.files import write_json, write_text
from machine.kind_node_parts import Mount
from machine.processes import stop
from operations import common, readiness
from operations.embedded import cluster as embedded
from operations.kind import kind_config, kind_node
from operations.kind.program import LOAD_SECONDS, run_kind, say
from toolchain.images import DRIVER

CONFIG = kind_places.CONFIG
KIND = "kind"
OWN_NETWORK = "network"
"""File of clusters of earlier versions: they were the reason for kind's network."""
CREATE_SECONDS = 540
WAIT_SECONDS = 180
"""How long kind waits for the control plane; a worker takes its time after that."""
USABLE_SECONDS = 60


@dataclass(frozen=True)
class Specification:
    """What to make; whatever is in it forces a new cluster when it changes.

    gates and runtime_config: "Name=true" strings; image: of the nodes, "" for set-up's own or
    kind's; images: archives that every node gets, that of NVIDIA's driver where set-up has it;
    workers: what each node needs of the GPU driver (kind_gpus.describe), {"mocked": GPUs as in
    MockedGpu} for one with mocked GPUs, {} without.
    """

    stack: str
    kubernetes_version: str
    feature_gates: list[str]
    runtime_config: list[str]
    image: str
    images: list[str]
    workers: list[dict[str, Any]] = field(default_factory=list)


def create(wanted: Specification) -> dict[str, Any]:
    """Make the cluster and return its facts. An earlier one of the stack is never kept, even if its
    nodes are ready: what kind does last may not have been done.

    Raises LabError, having removed what it made, with kind's own reason; before anything is changed
    if another's cluster has the name.
    """
    started = time.monotonic()
    name = kind_places.cluster(wanted.stack)
    kind_docker.require_free(wanted.stack)
    down(wanted.stack)
    folder = RUN / wanted.stack
    if folder.exists():  # a half-made cluster of another kind
        embedded.down(wanted.stack)
    with removed_on_failure(partial(down, wanted.stack)):
        make_folder(wanted.stack)
        (folder / CONFIG).touch()
        image = _provide_image(wanted.image, wanted.kubernetes_version)
        _write_config(wanted, name, image, folder)
        _create(name, folder)
        nodes = kind_docker.ours(wanted.stack)
        for archive in wanted.images:
            if Path(archive).name == DRIVER.file and not Path(archive).exists():
                continue  # the nodes get it from its registry
            say(f"loading {Path(archive).name} into {len(nodes)} nodes")
            run_kind(["load", "image-archive", archive, "--name", name], LOAD_SECONDS)
        _set_up(wanted)
        readiness.wait_until_usable(folder / KUBECONFIG, USABLE_SECONDS)
        write_json(folder / STARTED, kind_places.started(nodes))
        own = {"image": image, "daemon": docker.info().get("ID", ""), "nodes": nodes}
        return common.write_facts(wanted, started, kind=KIND, name=name, **own)


def revive(stack: str, cluster_id: str, start_id: str) -> None:
    """Start the nodes that ended, set them up again, and note the id of this start. Raises LabError
    with the way out if the cluster or its containers are gone, or if it does not start."""
    common.require_not_being_removed(stack)
    folder = RUN / stack
    facts = identity.facts(stack)
    name = kind_places.cluster(stack)
    again = f"run: {common.make_anew(stack)}"
    if facts.get("cluster_id") != cluster_id:
        raise LabError(f"cluster {name}, as the stack knows it, is gone", again)
    if lost := sorted(set(facts["nodes"]) - set(kind_docker.ours(stack))):
        raise LabError(f"of cluster {name} these nodes are gone: {', '.join(lost)}", again)
    make_folder(stack)
    if not (folder / KUBECONFIG).exists():
        run_kind(["export", "kubeconfig", "--name", name, "--kubeconfig", str(folder / KUBECONFIG)])
    if not runs(stack):
        first = kind_places.control_plane(stack)
        for node in [first, *(node for node in facts["nodes"] if node != first)]:
            docker.run("start", node)
        _set_up(Specification(**facts["specification"]))
        readiness.wait_until_usable(folder / KUBECONFIG, USABLE_SECONDS)
        write_json(folder / STARTED, kind_places.started(facts["nodes"]))
    write_text(folder / START_ID, start_id)


def down(stack: str) -> None:
    """Remove the stack's cluster with its files. Nothing there is no error, nor is a cluster of its
    name that is not of this lab, which stays. Raises LabError that names what is left."""
    folder, name = RUN / stack, kind_places.cluster(stack)
    stop(_makers(name))
    has_network = (folder / OWN_NETWORK).exists()
    if found := kind_docker.ours(stack):
        docker.run("rm", "--force", "--volumes", *found, seconds=LOAD_SECONDS)
    if remaining := kind_docker.ours(stack):
        raise LabError(
            f"containers of cluster {name} are left: {', '.join(remaining)}",
            f"run: docker rm --force --volumes {' '.join(remaining)}",
        )
    kind_docker.remove_network(noted=has_network)
    # Its files go last: until then a second attempt finds what is left to do.
    if has_gpus(stack):
        gpu_host.reset_compute_mode()
    if kind_docker.has_files(stack):
        shutil.rmtree(folder)


def whole(stack: str) -> bool:
    """Whether all nodes of the stack's cluster run."""
    nodes = identity.facts(stack).get("nodes", [])
    return bool(nodes) and set(kind_places.started(nodes)) == set(nodes)


def has_gpus(stack: str) -> bool:
    """Whether nodes of the stack's cluster have GPUs of this machine, by its files or, without
    them, the state."""
    facts = identity.known_facts(stack)
    return facts.get("kind") == KIND and any(kind_gpus.brief(facts["specification"]["workers"]))


def recorded(stack: str) -> list[str]:
    """The nodes of the Kind cluster that the stack had by its state when that was written last."""
    facts = identity.in_state(stack)
    return list(facts["nodes"]) if facts.get("kind") == KIND else []


def _provide_image(given: str, version: str) -> str:
    """The image's reference; set-up's own is given to Docker if it has not got it. Any other is
    fetched by kind."""
    image = kind_images.image_of(given, version)
    own = kind_images.offline()
    if own.get("reference") == image and not docker.run("images", "--quiet", image).strip():
        archive = kind_images.OFFLINE.parent / own["archive"]
        say(f"loading {archive.name} into Docker")
        docker.run("load", "--input", str(archive), seconds=LOAD_SECONDS)
    return image


def _write_config(wanted: Specification, name: str, image: str, folder: Path) -> None:
    config = kind_config.Wanted(
        name,
        wanted.kubernetes_version,
        image,
        [[Mount(**mount) for mount in worker.get("mounts", [])] for worker in wanted.workers],
        wanted.feature_gates,
        wanted.runtime_config,
        int(docker.info().get("CgroupVersion") or "1"),
        kind_docker.mark(wanted.stack),
    )
    kind_docker.note_network()
    (folder / CONFIG).write_text(kind_config.text(config))


def _create(name: str, folder: Path) -> None:
    """kind keeps the nodes where it fails: their logs are read before they are removed."""
    arguments = [
        *("create", "cluster", "--name", name, "--config", str(folder / CONFIG)),
        *("--kubeconfig", str(folder / KUBECONFIG), "--wait", f"{WAIT_SECONDS}s", "--retain"),
    ]
    try:
        run_kind(arguments, CREATE_SECONDS)
    except LabError as error:
        raise LabError(f"{error}{_kubelet_errors(folder.name)}") from error


def _kubelet_errors(stack: str) -> str:
    found = ""
    with suppress(DockerError):
        for node in kind_docker.ours(stack):
            log = docker.run("exec", node, "journalctl", "--unit=kubelet", "--output=cat", "-n40")
            errors = [line for line in log.splitlines() if re.match(r"[EF]\d{4}|.*err=", line)]
            found += "".join(f"\n  {node}, kubelet: {line[:300]}" for line in errors[-2:])
    return found


def _set_up(wanted: Specification) -> None:
    names = kind_places.workers(wanted.stack, len(wanted.workers))
    for node, needs in zip(names, wanted.workers, strict=True):
        kind_node.set_up(node, needs)


def _makers(name: str) -> list[psutil.Process]:
    """What of this checkout is still making the cluster: kind goes on when the program over it is
    killed."""
    here = str(Path.cwd())
    return [
        process
        for process in psutil.process_iter(["name", "cmdline", "cwd"])
        if (process.info["name"], process.info["cwd"]) == ("kind", here)
        and name in (process.info["cmdline"] or [])
    ]
