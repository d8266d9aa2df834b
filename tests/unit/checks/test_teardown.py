"""After a removal: what is left is named with what removes it; what is not ours is left alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from checks import teardown
from checks.prerequisites import gpus
from machine import (
    cluster_state,
    docker,
    gpu_host,
    host_node,
    host_places,
    identity,
    kind_docker,
    temporary_files,
)
from tests.unit.fake_kube import findings, statuses

GPU = gpu_host.Gpu("GPU-1", "NVIDIA H200", 143771, "9.0", "Default", "580.1")
ALL = [
    "no-files",
    "no-credentials",
    "no-processes",
    "no-containers",
    "no-node",
    "compute-mode",
    "no-mps",
    "no-cdi-files",
]


class Machine:
    """One with a GPU, on which nothing is left."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, patch
        self.containers: dict[str, str] = {}
        patch.chdir(folder)
        patch.setattr("tempfile.tempdir", str(folder / "tmp"))
        patch.setattr(host_node, "leftovers", list)
        patch.setattr(host_places, "CDI", folder / "cdi")
        patch.setattr(cluster_state, "processes", lambda _: [])
        patch.setattr(gpus, "MPS_FOLDER", folder / "nvidia-mps")
        patch.setattr("psutil.process_iter", lambda _: [])
        patch.setattr(kind_docker, "containers", lambda _: dict(self.containers))
        patch.setattr(gpu_host, "described", dict)
        patch.setattr(gpu_host, "find", lambda _: None)
        self.has(GPU)

    def has(self, *found: gpu_host.Gpu) -> None:
        self.patch.setattr(gpu_host, "gpus", lambda _: list(found))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def run(**had: Any) -> dict[str, Any]:
    recorded = ["dra-workshop-lab-control-plane", "dra-workshop-lab-worker"]
    everything = {
        "containers": True,
        "recorded": recorded,
        "daemon": "",
        "node": True,
        "gpus": True,
    }
    return teardown.run("0", {"stack": "lab"} | everything | had)


def failed(identity: str, **given: bool) -> dict[str, Any]:
    result = run(**given)
    assert result["status"] == "failed"
    finding = findings(result)[identity]
    assert finding["status"] == "failed"
    assert finding["remedy"].startswith("run: ")
    return finding


def test_nothing_left_passes(machine: Machine) -> None:
    result = run()
    assert result["status"] == "passed"
    assert statuses(result) == dict.fromkeys(ALL, "passed")


def test_what_the_lab_never_had_is_not_looked_at(machine: Machine) -> None:
    """The files and GPUs of a driver that somebody else runs on this machine are not ours."""
    machine.patch.setattr(host_node, "leftovers", lambda: ["file k8s.gpu.nvidia.com-claim_1"])
    machine.has(gpu_host.Gpu(**GPU.facts() | {"compute_mode": "Exclusive_Process"}))
    result = run(containers=False, node=False, gpus=False)
    always = ("no-files", "no-credentials", "no-processes")
    assert statuses(result) == dict.fromkeys(always, "passed")


def test_files_and_processes_that_are_left(machine: Machine) -> None:
    (machine.folder / ".run" / "lab").mkdir(parents=True)
    assert failed("no-files")["remedy"] == "run: make destroy STACK=lab"
    left = SimpleNamespace(name=lambda: "etcd", pid=7)
    machine.patch.setattr(cluster_state, "processes", lambda _: [left])
    assert failed("no-processes")["found"] == "etcd (7)"


COPIES = {
    "embedded": "certificate-authority: {}/.run/{}/kwok/clusters/lab/pki/ca.crt\n",
    "existing": "extension: {{folder: {}/.run/{}/}}\n",
    "kind": "# {}\n- name: kind-dra-workshop-{}\n",
}
"""What tells whose a copy is, by the folder and the stack."""


@pytest.mark.parametrize("kind_of_cluster", COPIES)
def test_kubeconfigs_that_the_provider_left_are_found_and_removed(
    kind_of_cluster: str, machine: Machine
) -> None:
    temporary = machine.folder / "tmp"
    temporary.mkdir()
    (temporary / "kubeconfig-of-a-folder").mkdir()
    text = COPIES[kind_of_cluster]
    ours, theirs = temporary / "kubeconfig1", temporary / "kubeconfig2"
    ours.write_text(text.format(machine.folder, "lab"))
    theirs.write_text(text.format(machine.folder, "lab2"))
    found = failed("no-credentials")
    assert found["found"] == str(ours)
    assert found["remedy"] == "run: make destroy STACK=lab"
    temporary_files.remove("lab")
    assert run()["status"] == "passed"
    assert theirs.exists()


def test_containers_of_the_cluster(machine: Machine) -> None:
    machine.containers = {"dra-workshop-lab-worker": identity.of("lab")}
    found = failed("no-containers")
    assert found["found"] == "dra-workshop-lab-worker"
    assert found["remedy"] == "run: make destroy STACK=lab"


def test_containers_of_another_checkout_are_not_ours(machine: Machine) -> None:
    machine.containers = {"dra-workshop-lab-worker": "of-another"}
    assert run()["status"] == "passed"


def test_containers_of_which_docker_does_not_tell_whose_they_are(machine: Machine) -> None:
    """By the state there was a cluster; one of an earlier version has no mark."""
    machine.containers = {"dra-workshop-lab-worker": "", "somebodys": ""}
    assert run(recorded=[])["status"] == "passed"
    found = findings(run())["no-containers"]
    assert found["status"] == "failed"
    assert found["found"].startswith("dra-workshop-lab-worker, of which Docker does not tell")
    assert "run: docker rm --force --volumes dra-workshop-lab-worker" in found["remedy"]


def test_another_docker_is_no_proof(machine: Machine) -> None:
    machine.patch.setattr(docker, "info", lambda: {"ID": "second"})
    assert run(daemon="second")["status"] == "passed"
    found = findings(run(daemon="first"))["no-containers"]
    assert found["status"] == "failed"
    assert found["found"] == "the cluster was made in Docker daemon first, and this is second"
    assert "DOCKER_HOST" in found["remedy"]
    assert "make destroy STACK=lab" in found["remedy"]


def test_a_docker_that_cannot_be_asked_is_no_proof(machine: Machine) -> None:
    def refuse(_: str) -> dict[str, str]:
        raise docker.DockerError("the Docker daemon does not run", "run: systemctl start docker")

    machine.patch.setattr(kind_docker, "containers", refuse)
    assert failed("no-containers")["found"] == "the Docker daemon does not run"


def test_a_gpu_that_is_still_reserved(machine: Machine) -> None:
    reserved = gpu_host.Gpu(**GPU.facts() | {"compute_mode": "Exclusive_Process"})
    machine.has(GPU, reserved)
    found = failed("compute-mode")
    assert found["found"] == "GPU-1: Exclusive_Process"
    assert "nvidia-smi -c DEFAULT" in found["remedy"]


def test_a_folder_of_mps(machine: Machine) -> None:
    (machine.folder / "nvidia-mps").mkdir()
    assert "nvidia-mps exists" in failed("no-mps")["found"]


def test_a_cdi_file_of_the_driver_but_not_anybody_elses(machine: Machine) -> None:
    (machine.folder / "cdi").mkdir()
    (machine.folder / "cdi" / "nvidia.yaml").touch()
    assert run()["status"] == "passed"
    (machine.folder / "cdi" / "k8s.gpu.nvidia.com-claim_1.yaml").touch()
    assert failed("no-cdi-files")["found"].endswith("k8s.gpu.nvidia.com-claim_1.yaml")


def test_what_a_host_node_left(machine: Machine) -> None:
    machine.patch.setattr(host_node, "leftovers", lambda: ["mount /var/lib/kubelet"])
    assert failed("no-node")["found"] == "mount /var/lib/kubelet"


def test_a_machine_without_a_driver_has_no_gpu_to_ask(machine: Machine) -> None:
    def none() -> dict[str, Any]:
        raise gpu_host.NoDriver("nvidia-ctk finds no GPU driver: none", "install it")

    machine.patch.setattr(gpu_host, "described", none)
    assert statuses(run())["compute-mode"].startswith("nvidia-ctk finds no GPU driver")
