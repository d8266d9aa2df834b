"""A Kind cluster's life, with docker and kind programs that keep their containers as files."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from machine import cluster_state, docker, gpu_host, identity, kind_docker, kind_images
from machine import host_node as machine_node
from machine.cluster_state import FACTS, KUBECONFIG, RUN, START_ID, STARTED
from machine.errors import LabError
from operations import readiness
from operations.embedded import cluster as embedded
from operations.host_node import node as host_node
from operations.kind import cluster as kind
from operations.kind import kind_node, program
from operations.kind.cluster import CONFIG, OWN_NETWORK, Specification
from operations.stack import clusters
from tests import mocks

NAME = "dra-workshop-lab"
NODES = [f"{NAME}-control-plane", f"{NAME}-worker"]
VERSION = "1.36.4"
WANTED = Specification("lab", VERSION, [], [], "", [], [{}])
DOCKER = """\
#!/bin/sh
cd {folder}
echo "docker $*" >> calls
test ! -e no-daemon || {{ echo 'Cannot connect to the Docker daemon at unix:///x' >&2; exit 1; }}
case "$1 $2 $3" in 'ps --all --quiet') test ! -e used || echo 1; ls containers; exit ;; esac
case "$1 $2" in
'info --format') echo '{{"CgroupVersion": "1", "ID": "this-one"}}' ;;
'ps --all') grep -l "${{4#label=io.x-k8s.kind.cluster=}}" containers/* | sed 's:.*/::' ;;
'images --quiet') test ! -e image || echo 1 ;;
'load --input') touch image ;;
'network ls') test ! -e network || echo 1 ;;
'network rm') rm network ;;
'volume ls') ls volumes ;;
'volume create') touch "volumes/$3" ;;
'volume rm') rm -f "volumes/$4" ;;
'rm --force') shift 3; test -e stays || for name; do rm "containers/$name" "started/$name"; done ;;
'container inspect')
  shift 4
  for name; do test ! -e "containers/$name" || echo "{{\\"Name\\": \\"/$name\\", \\
    \\"Mounts\\": [{{\\"Destination\\": \\"/var\\"}}, \\
    {{\\"Destination\\": \\"$(cat "marks/$name")\\"}}], \\
    \\"State\\": {{\\"Running\\": true, \\"StartedAt\\": \\"$(cat "started/$name")\\"}}}}" \\
    | tr -d '\\n'; echo; done ;;
"start $2") test -e "started/$2" || echo again > "started/$2" ;;
"exec $2") cat kubelet ;;
*) echo "not played: $*" >&2; exit 64 ;;
esac
"""
KIND = """\
#!/bin/sh
cd {folder}
echo "kind $*" >> calls
case "$1 $2" in
'create cluster')
  echo 'Creating cluster "{name}" ...'
  touch network
  for node in {nodes}; do echo {name} > containers/$node; echo first > started/$node
    grep -om1 '/etc/dra-workshop/lab/.*' {run}/kind.yaml > marks/$node; done
  test ! -e hangs || exec sleep 30
  test ! -e fails || {{ echo 'ERROR: failed to init node with kubeadm'; exit 1; }}
  cp kubeconfig-of-kind {run}/kubeconfig ;;
'export kubeconfig') cp kubeconfig-of-kind {run}/kubeconfig ;;
'load image-archive') test ! -e load-fails || {{ echo 'ERROR: no such archive'; exit 1; }} ;;
esac
"""
KUBECONFIG_OF_KIND = {"clusters": [{"cluster": {"server": "https://127.0.0.1:6443"}}]}


class Machine:
    """What Docker holds on it, as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("containers", "started", "marks", "volumes", "bin"):
            (folder / name).mkdir()
        (folder / "calls").touch()
        (folder / "kubelet").touch()
        (folder / "kubeconfig-of-kind").write_text(yaml.safe_dump(KUBECONFIG_OF_KIND))
        told = {"folder": folder, "name": NAME, "nodes": " ".join(NODES)}
        told["run"] = str((RUN / "lab").absolute())
        for name, script in (("docker", DOCKER), ("kind", KIND)):
            (folder / "bin" / name).write_text(script.format(**told))
            (folder / "bin" / name).chmod(0o755)

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def set(self, *names: str) -> None:
        for name in names:
            (self.folder / name).touch()

    def containers(self, of: str = NAME) -> list[str]:
        folder = self.folder / "containers"
        return sorted(each.name for each in folder.iterdir() if each.read_text().strip() == of)

    def volumes(self) -> list[str]:
        return [each.name for each in (self.folder / "volumes").iterdir()]

    def put_containers(self, mark: str = "") -> None:
        for node in NODES:
            (self.folder / "containers" / node).write_text(NAME)
            (self.folder / "started" / node).write_text("first")
            (self.folder / "marks" / node).write_text(mark)

    def restart(self, node: str, when: str = "later") -> None:
        (self.folder / "started" / node).write_text(when)

    def calls(self, *starts: str) -> list[str]:
        lines = (self.folder / "calls").read_text().splitlines()
        return [line for line in lines if line.startswith(starts)]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    (tmp_path / "machine").mkdir()
    made = Machine(tmp_path / "machine")
    monkeypatch.setenv("PATH", f"{made.folder / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(program, "BIN", made.folder / "bin")
    monkeypatch.setattr(readiness, "wait_until_usable", lambda *_: None)
    monkeypatch.setattr("psutil.process_iter", lambda *_: iter(()))
    yield made
    assert "not played" not in "".join(made.calls()), made.calls()


def created(**changed: Any) -> dict[str, Any]:
    return kind.create(replace(WANTED, **changed))


def folder(stack: str = "lab") -> Path:
    return RUN / stack


# --- made --------------------------------------------------------------------------------------


def test_the_facts_of_a_cluster_that_was_made(machine: Machine) -> None:
    facts = created()
    assert (facts["kind"], facts["name"], facts["nodes"]) == ("kind", NAME, NODES)
    assert facts["server"] == "https://127.0.0.1:6443"
    assert facts["image"] == kind_images.reference(VERSION)
    assert facts == json.loads((folder() / FACTS).read_text())
    assert facts.keys() == mocks.kind(asdict(WANTED)).keys()
    assert json.loads((folder() / STARTED).read_text()) == dict.fromkeys(NODES, "first")
    config = yaml.safe_load((folder() / CONFIG).read_text())
    assert [node["role"] for node in config["nodes"]] == ["control-plane", "worker"]
    assert "failCgroupV1: false" in "".join(config["kubeadmConfigPatches"]), "as docker info says"
    assert facts["cluster_id"] != created()["cluster_id"]


def test_what_workers_need_is_mounted_and_set_up(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Any] = []
    monkeypatch.setattr(kind_node, "set_up", lambda *given: done.append(given))
    mount = {"host": "/dev/null", "container": "/ask/0", "read_only": True, "optional": False}
    needs = {"gpus": ["GPU-1"], "mounts": [mount]}
    created(workers=[needs])
    _, worker = yaml.safe_load((folder() / CONFIG).read_text())["nodes"]
    assert worker["extraMounts"][1:] == [
        {"hostPath": "/dev/null", "containerPath": "/ask/0", "readOnly": True}
    ]
    assert done == [(NODES[1], needs)]


def test_every_archive_is_given_to_the_nodes_but_that_of_the_driver_where_there_is_none(
    machine: Machine,
) -> None:
    Path("images").mkdir()
    for name in "ab":
        Path("images", f"{name}.tar").touch()
    created(images=["images/a.tar", "images/b.tar", "images/dra-driver.tar"])
    assert machine.calls("kind load") == [
        f"kind load image-archive images/{name}.tar --name {NAME}" for name in "ab"
    ]


def test_kind_talks_to_docker_whatever_else_the_shell_prefers(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIND_EXPERIMENTAL_PROVIDER", "podman")
    kind_program = machine.folder / "bin" / "kind"
    said = f'echo "by ${{KIND_EXPERIMENTAL_PROVIDER:-docker}}" >> {machine.folder}/calls\n'
    kind_program.write_text(kind_program.read_text() + said)
    created()
    assert set(machine.calls("by")) == {"by docker"}


# --- the image ---------------------------------------------------------------------------------


@pytest.fixture
def own_image(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> str:
    """Set-up has built one for 1.36.4."""
    path = machine.folder / "kind-node.json"
    path.write_text(
        json.dumps({"reference": "own:1", "kubernetes": VERSION, "archive": "kind-node.tar"})
    )
    monkeypatch.setattr(kind_images, "OFFLINE", path)
    return "own:1"


def test_the_image_that_set_up_built_is_loaded_once(machine: Machine, own_image: str) -> None:
    assert created()["image"] == own_image
    created()
    assert machine.calls("docker load") == [
        f"docker load --input {machine.folder / 'kind-node.tar'}"
    ]


@pytest.mark.parametrize(
    ("given", "version", "image"),
    [
        ("", "1.35.8", kind_images.reference("1.35.8")),
        ("other:2", VERSION, "other:2"),
        ("other:2", "1.33.1", "other:2"),
    ],
)
def test_any_other_image_is_left_to_kind(
    machine: Machine, own_image: str, given: str, version: str, image: str
) -> None:
    assert created(image=given, kubernetes_version=version)["image"] == image
    assert machine.calls("docker load") == []
    config = yaml.safe_load((folder() / CONFIG).read_text())
    assert {node["image"] for node in config["nodes"]} == {image}


# --- what fails leaves nothing -----------------------------------------------------------------


def nothing_is_left(machine: Machine) -> None:
    assert machine.containers() == []
    assert not machine.has("network")
    assert not folder().exists()


def test_kinds_reason_and_the_kubelets_are_told_and_all_of_it_is_removed(machine: Machine) -> None:
    machine.set("fails")
    (machine.folder / "kubelet").write_text(
        'I0101 all is well\nE0101 "Failed to run kubelet" err="no cgroups"\n'
    )
    with pytest.raises(LabError) as caught:
        created()
    text = str(caught.value)
    assert "kind create cluster failed:" in text
    assert "ERROR: failed to init node with kubeadm" in text
    assert f"{NODES[1]}, kubelet: E0101" in text
    assert "all is well" not in text
    nothing_is_left(machine)


def test_kinds_reason_is_told_even_if_docker_has_gone(machine: Machine) -> None:
    machine.set("fails")
    script = machine.folder / "bin" / "kind"
    script.write_text(script.read_text().replace("test ! -e fails", "touch no-daemon; false"))
    with pytest.raises(LabError) as caught:
        created()
    assert "failed to init node with kubeadm" in str(caught.value)
    assert "not everything that was made could be removed: the Docker daemon does not run" in str(
        caught.value
    )
    (machine.folder / "no-daemon").unlink()
    kind.down("lab")
    nothing_is_left(machine)


def test_a_disk_without_room_for_the_first_file_is_told_and_hinders_nothing_later(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as while_full:
        while_full.setattr(Path, "touch", full)
        with pytest.raises(OSError, match="No space left"):
            created()
    assert list(folder().iterdir()) == []
    assert created()["kind"] == "kind"


def test_an_archive_that_cannot_be_loaded(machine: Machine) -> None:
    machine.set("load-fails")
    Path("images").mkdir()
    Path("images", "a.tar").touch()
    with pytest.raises(LabError, match=r"load image-archive failed:\n  ERROR: no such arch"):
        created(images=["images/a.tar"])
    nothing_is_left(machine)


def test_a_kind_that_hangs_in_silence_is_ended(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.set("hangs")
    monkeypatch.setattr(kind, "CREATE_SECONDS", 0.5)
    with pytest.raises(LabError, match=r"kind create cluster was ended after 0\.5 s"):
        created()
    nothing_is_left(machine)


def test_an_interruption_leaves_nothing_either(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(readiness, "wait_until_usable", interrupt)
    with pytest.raises(KeyboardInterrupt):
        created()
    nothing_is_left(machine)


def test_without_kind_it_is_said_how_to_get_it(machine: Machine) -> None:
    (machine.folder / "bin" / "kind").unlink()
    with pytest.raises(LabError, match="kind is missing; run: make setup-kind"):
        created()
    assert not folder().exists()


# --- what is there already ---------------------------------------------------------------------


def test_the_name_of_anothers_cluster_is_refused_before_anything_is_changed(
    machine: Machine,
) -> None:
    machine.put_containers()
    with pytest.raises(LabError, match=rf"kind cluster {NAME} that is not known here"):
        created()
    assert machine.containers() == NODES
    assert machine.calls("kind") == []
    assert not folder().exists()
    kind.down("lab")
    assert machine.containers() == NODES, "nor does a removal touch it"


def test_a_half_made_cluster_is_never_kept(machine: Machine) -> None:
    machine.put_containers()
    folder().mkdir(parents=True)
    (folder() / CONFIG).write_text("nodes: [{role: control-plane}]")
    created()
    done = machine.calls("kind create", "docker rm --force")
    assert done[0] == f"docker rm --force --volumes {' '.join(NODES)}"
    assert done[1].startswith("kind create")


def test_containers_are_not_ours_by_a_configuration_with_which_nothing_was_made(
    machine: Machine,
) -> None:
    machine.put_containers()
    folder().mkdir(parents=True)
    (folder() / CONFIG).touch()
    kind.down("lab")
    assert machine.containers() == NODES


def test_a_kind_that_outlived_its_caller_is_ended_before_its_nodes_are_removed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def process(name: str, cluster: str, folder: object) -> SimpleNamespace:
        command = ["/x/kind", "create", "cluster", "--name", cluster]
        return SimpleNamespace(info={"name": name, "cmdline": command, "cwd": str(folder)})

    here = Path.cwd()
    running = [
        process("kind", NAME, here),
        process("kind", "other", here),
        process("bash", NAME, here),
        process("kind", NAME, here.parent),
    ]
    ended: list[Any] = []
    created()
    monkeypatch.setattr("psutil.process_iter", lambda _: running)
    monkeypatch.setattr(kind, "stop", lambda found: ended.extend([*found, machine.containers()]))
    kind.down("lab")
    assert ended == [running[0], NODES]


def test_one_that_was_killed_before_kind_began_is_no_hindrance(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_kwokctl", lambda *_: None)
    folder().mkdir(parents=True)
    created()
    assert machine.containers() == NODES


def test_a_half_made_cluster_of_processes_is_ended_first(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    def down(stack: str) -> None:
        ended.append(stack)
        (folder(stack) / "kwok").rmdir()
        folder(stack).rmdir()

    monkeypatch.setattr(embedded, "down", down)
    (folder() / "kwok").mkdir(parents=True)
    created()
    assert ended == ["lab"]


def test_the_name_is_free_where_nothing_has_it(machine: Machine) -> None:
    assert kind_docker.require_free("lab") == "free"
    created()
    assert kind_docker.require_free("lab") == f"of this stack: {', '.join(NODES)}"


# --- started again -----------------------------------------------------------------------------


def test_a_cluster_that_runs_only_gets_its_life_noted(machine: Machine) -> None:
    facts = created()
    kind.revive("lab", facts["cluster_id"], "life 2")
    assert (folder() / START_ID).read_text() == "life 2"
    assert machine.calls("docker start") == []
    assert cluster_state.of("lab") == "life 2", "so the next update changes nothing"


def test_nodes_that_were_restarted_are_set_up_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = created()
    done: list[str] = []
    monkeypatch.setattr(kind_node, "set_up", lambda node, _: done.append(node))
    machine.restart(NODES[1])
    assert cluster_state.of("lab") != "life 1"
    kind.revive("lab", facts["cluster_id"], "life 1")
    assert done == [NODES[1]]
    assert machine.calls("docker start") == [f"docker start {node}" for node in NODES]
    assert cluster_state.of("lab") == "life 1"


@pytest.mark.parametrize("cluster_id", ["of another", None])
def test_a_lost_node_or_another_cluster_is_named_with_the_way_out(
    machine: Machine, cluster_id: str | None
) -> None:
    facts = created()
    said = "as the stack knows it, is gone"
    if cluster_id is None:
        (machine.folder / "containers" / NODES[1]).unlink()
        said = f"these nodes are gone: {NODES[1]}"
    with pytest.raises(LabError) as caught:
        kind.revive("lab", cluster_id or facts["cluster_id"], "life 2")
    assert said in str(caught.value)
    assert "run: make destroy STACK=lab, then: make up STACK=lab" in str(caught.value)
    assert not (folder() / START_ID).exists()


def test_one_without_files_is_gone(machine: Machine) -> None:
    with pytest.raises(LabError, match="is gone; run: make destroy STACK=lab"):
        kind.revive("lab", "i1", "life 1")


def test_one_whose_removal_has_begun_is_not_revived(machine: Machine) -> None:
    facts = created()
    cluster_state.begin_removal("lab")
    with pytest.raises(LabError, match="finish it with: make destroy STACK=lab"):
        kind.revive("lab", facts["cluster_id"], "life 2")


def test_a_lost_kubeconfig_is_written_anew(machine: Machine) -> None:
    facts = created()
    (folder() / KUBECONFIG).unlink()
    kind.revive("lab", facts["cluster_id"], "life 2")
    assert (folder() / KUBECONFIG).exists()


# --- removed -----------------------------------------------------------------------------------


def test_a_removal_leaves_nothing_and_can_be_repeated(machine: Machine) -> None:
    created()
    kind.down("lab")
    nothing_is_left(machine)
    assert not machine.volumes()
    before = machine.calls("docker")
    kind.down("lab")
    assert {line.split()[1] for line in machine.calls("docker")[len(before) :]} == {"ps", "volume"}
    assert machine.calls("docker volume")[-1].startswith("docker volume ls"), "it only asks"


def test_a_network_that_was_there_before_stays(machine: Machine) -> None:
    machine.set("network")
    created()
    kind.down("lab")
    assert machine.has("network")


def test_a_network_that_another_stack_uses_goes_with_that_one(machine: Machine) -> None:
    created()
    folder("other").mkdir(parents=True)
    (folder("other") / CONFIG).touch()
    machine.set("used")
    kind.down("lab")
    assert machine.has("network")
    (machine.folder / "used").unlink()
    kind.down("other")
    assert not machine.has("network")
    assert not machine.volumes()


def test_a_network_that_a_stranger_uses_is_left_to_him(machine: Machine) -> None:
    created()
    machine.set("used")
    kind.down("lab")
    assert machine.has("network")
    assert not folder().exists()


def test_containers_that_stay_are_named_with_the_command(machine: Machine) -> None:
    created()
    machine.set("stays")
    with pytest.raises(LabError, match=rf"are left: .*docker rm --force .*{NODES[0]}"):
        kind.down("lab")
    (machine.folder / "stays").unlink()
    kind.down("lab")
    nothing_is_left(machine)


def test_without_docker_nothing_is_forgotten(machine: Machine) -> None:
    created()
    machine.set("no-daemon")
    with pytest.raises(docker.DockerError, match="does not run"):
        kind.down("lab")
    assert kind_docker.has_files("lab")


@pytest.mark.parametrize(
    ("workers", "times"),
    [([{"gpus": ["GPU-1"]}], 1), ([{}], 0), ([{"mocked": [{"uuid": "GPU-1"}]}], 0)],
)
def test_gpus_are_shared_by_all_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, workers: list[dict[str, Any]], times: int
) -> None:
    monkeypatch.setattr(kind_node, "set_up", lambda *_: None)
    done: list[bool] = []
    monkeypatch.setattr(gpu_host, "reset_compute_mode", lambda: done.append(True))
    created(workers=workers)
    kind.down("lab")
    assert len(done) == times


def test_a_gpu_that_stays_reserved_is_found_by_the_next_attempt_too(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise LabError("GPU-1 is left in compute mode Exclusive_Process")

    monkeypatch.setattr(kind_node, "set_up", lambda *_: None)
    created(workers=[{"gpus": ["GPU-1"]}])
    monkeypatch.setattr(gpu_host, "reset_compute_mode", refuse)
    for _ in range(2):
        with pytest.raises(LabError, match="left in compute mode"):
            kind.down("lab")
    assert machine.containers() == []


# --- whose it is -------------------------------------------------------------------------------


def record(facts: dict[str, Any]) -> None:
    """Have the state know of the cluster."""
    state = identity.state_of("lab")
    state.parent.mkdir(parents=True)
    urn = "urn:pulumi:lab::dra-workshop::dra-workshop:cluster:KindCluster$" + identity.CLUSTER
    resource = {"urn": urn, "outputs": {"stdout": json.dumps(facts)}}
    state.write_text(json.dumps({"checkpoint": {"latest": {"resources": [resource]}}}))


def of_an_earlier_version(machine: Machine) -> None:
    """Such nodes have no mark, and the network was noted beside the cluster's files."""
    config = yaml.safe_load((folder() / CONFIG).read_text())
    for node in config["nodes"]:
        del node["extraMounts"]
    (folder() / CONFIG).write_text(yaml.safe_dump(config))
    machine.put_containers()
    for name in machine.volumes():
        (machine.folder / "volumes" / name).unlink()
    (folder() / OWN_NETWORK).touch()


def test_a_cluster_whose_files_are_lost_is_found_in_docker_and_removed(machine: Machine) -> None:
    created()
    shutil.rmtree(RUN)
    kind.down("lab")
    nothing_is_left(machine)
    assert not machine.volumes()


def test_one_whose_files_are_lost_can_be_made_anew(machine: Machine) -> None:
    created()
    shutil.rmtree(RUN)
    assert kind_docker.require_free("lab") == f"of this stack: {', '.join(NODES)}"
    assert created()["nodes"] == NODES


@pytest.mark.parametrize("lost", [False, True])
def test_a_cluster_of_another_checkout_is_never_touched(machine: Machine, lost: bool) -> None:
    """Ours was removed by hand; then another checkout made its own of the same name."""
    created()
    machine.put_containers(f"{kind_docker.MARKS}/of-another")
    if lost:
        shutil.rmtree(RUN)
    with pytest.raises(LabError, match=rf"kind cluster {NAME} that is not known here"):
        created()
    kind.down("lab")
    assert machine.containers() == NODES
    assert not folder().exists()
    assert machine.has("network")


def test_a_cluster_of_an_earlier_version_is_removed(machine: Machine) -> None:
    created()
    of_an_earlier_version(machine)
    kind.down("lab")
    nothing_is_left(machine)


def test_of_nodes_without_a_mark_and_without_files_nobody_can_tell(machine: Machine) -> None:
    created()
    of_an_earlier_version(machine)
    shutil.rmtree(RUN)
    kind.down("lab")
    assert machine.containers() == NODES
    assert kind_docker.ours("lab", unmarked=True) == NODES, "so that the proof names them"


def test_a_lab_that_got_another_id_finds_its_cluster_by_the_files(
    machine: Machine,
) -> None:
    """The id lies beside the state."""
    created()
    shutil.rmtree(identity.STATE)
    assert identity.of("lab")
    kind.down("lab")
    nothing_is_left(machine)


def test_gpus_of_a_cluster_whose_files_are_lost_are_shared_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind_node, "set_up", lambda *_: None)
    done: list[bool] = []
    monkeypatch.setattr(gpu_host, "reset_compute_mode", lambda: done.append(True))
    record(created(workers=[{"gpus": ["GPU-1"]}]))
    shutil.rmtree(RUN)
    kind.down("lab")
    assert done == [True]


@pytest.mark.parametrize(
    ("files", "recorded", "configured", "program", "asked"),
    [
        (False, False, "embedded", True, False),
        (True, False, "embedded", True, True),
        (False, True, "embedded", True, True),
        (False, False, "kind", True, True),
        (False, False, "kind", False, False),
        (False, True, "kind", False, True),
    ],
)
def test_when_docker_is_asked(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    files: bool,
    recorded: bool,
    configured: str,
    program: bool,
    asked: bool,
) -> None:
    facts = created()
    if not files:
        shutil.rmtree(RUN)
    if recorded:
        record(facts)
    monkeypatch.setattr(clusters, "read_configuration", lambda _: {"cluster": configured})
    monkeypatch.setattr(embedded, "down", lambda _: None)
    monkeypatch.setattr(machine_node, "is_ours", lambda _: False)
    if not program:
        monkeypatch.setenv("PATH", "/nowhere")
    holdings = clusters.read_holdings("lab")
    assert holdings["containers"] is asked
    assert holdings["daemon"] == ("this-one" if files or recorded else "")
    assert clusters.whole("lab") is not (recorded and not files), "else there is an API to ask"
    if asked and not program:
        with pytest.raises(docker.DockerError, match="no docker program"):
            clusters.down("lab")
    else:
        clusters.down("lab")
    assert machine.containers() == ([] if asked and program else NODES)


# --- told apart --------------------------------------------------------------------------------


def test_a_cluster_is_whole_while_all_its_nodes_run(machine: Machine) -> None:
    assert not kind.whole("lab")
    created()
    assert kind.whole("lab")
    assert clusters.whole("lab")
    (machine.folder / "containers" / NODES[1]).unlink()
    assert not kind.whole("lab")
    assert not clusters.whole("lab"), "its driver cannot undo what it did"


def test_a_half_made_cluster_is_known_by_its_configuration(machine: Machine) -> None:
    folder().mkdir(parents=True)
    assert cluster_state.kind_of("lab") == ""
    (folder() / CONFIG).touch()
    assert cluster_state.kind_of("lab") == "kind"
    assert not clusters.whole("lab")


@pytest.mark.parametrize(("is_host", "runs", "whole"), [(0, 0, 1), (1, 1, 1), (1, 0, 0)])
def test_one_of_processes_has_something_to_undo_on_a_host_node_only(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, is_host: int, runs: int, whole: int
) -> None:
    monkeypatch.setattr(machine_node, "is_ours", lambda _: bool(is_host))
    monkeypatch.setattr(host_node, "whole", lambda _: bool(runs))
    assert clusters.whole("lab") is bool(whole)


def test_whatever_kind_of_cluster_it_is_goes_down(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []
    monkeypatch.setattr(host_node, "remove", lambda stack: done.append(("host", stack)))
    monkeypatch.setattr(embedded, "down", lambda stack: done.append(("embedded", stack)))
    created()
    monkeypatch.setattr(clusters, "read_configuration", lambda _: {"cluster": "kind"})
    clusters.down("lab")
    nothing_is_left(machine)
    assert done == [("host", "lab"), ("embedded", "lab")], "the node before its cluster"


def test_each_kind_is_revived_in_its_own_way(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = created()
    clusters.revive("lab", facts["cluster_id"])
    assert cluster_state.of("lab") == (folder() / START_ID).read_text()
    assert set(clusters.REVIVE) == {"embedded", "kind", "existing"}
