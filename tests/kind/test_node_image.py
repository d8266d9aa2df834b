"""The image of kind's nodes that is built without a registry: the real kind makes a whole cluster
of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.kind.docker_daemon import DockerDaemon
from toolchain import kind
from toolchain.images import KIND_IMAGES, WORKLOAD_IMAGE
from toolchain.kind_node import image
from toolchain.layout import BIN, TOOLS

NAME = "node-image"
WORKER = f"{NAME}-worker"
LABEL = "dra-workshop/test"
Kubectl = Callable[..., str]

pytestmark = [
    pytest.mark.skipif(bool(kind.missing(TOOLS)), reason="make setup-kind has not been run"),
    pytest.mark.skipif(image.read(TOOLS) is None, reason="make kind-node-image has not been run"),
]


def config() -> str:
    on_version_2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    patch = {"kind": "KubeletConfiguration", "failCgroupV1": False}
    return yaml.safe_dump(
        {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "kubeadmConfigPatches": [] if on_version_2 else [yaml.safe_dump(patch)],
            "nodes": [{"role": "control-plane"}, {"role": "worker", "labels": {LABEL: "yes"}}],
        }
    )


@pytest.fixture(scope="module")
def kubectl(docker: DockerDaemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """kubectl on a cluster of one control plane and one worker, with the images of pods."""
    folder = tmp_path_factory.mktemp("kind")
    environment = {"KUBECONFIG": str(folder / "kubeconfig")}
    (folder / "config.yaml").write_text(config())

    def run(*command: str | Path) -> str:
        done = docker.run(command, environment=environment)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    node = image.read(TOOLS)
    assert node is not None
    loaded = run("docker", "load", "--input", TOOLS / image.FOLDER / node.archive)
    assert node.reference in loaded
    told = run("docker", "image", "inspect", "--format", "{{.Id}}", node.reference)
    assert told.strip() == node.config
    kind_ = BIN / "kind"
    create = ("create", "cluster", "--name", NAME, "--image", node.reference, "--wait", "120s")
    try:
        run(kind_, *create, "--config", folder / "config.yaml")
        for one in KIND_IMAGES:
            archive = TOOLS / one.into / one.file
            run(kind_, "load", "image-archive", "--name", NAME, archive)
        yield lambda *arguments: run(BIN / "kubectl", *arguments)
    finally:
        run(kind_, "delete", "cluster", "--name", NAME)
    assert run("docker", "ps", "--all", "--quiet") == ""


def test_nodes_are_ready_and_serve_dynamic_resource_allocation(kubectl: Kubectl) -> None:
    kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s")
    nodes = {
        n["metadata"]["name"]: n for n in json.loads(kubectl("get", "nodes", "-ojson"))["items"]
    }
    assert nodes.keys() == {f"{NAME}-control-plane", WORKER}
    assert nodes[WORKER]["metadata"]["labels"][LABEL] == "yes"
    infos = [node["status"]["nodeInfo"] for node in nodes.values()]
    assert {info["kubeletVersion"] for info in infos} == {"v1.37.2"}
    assert len({info["machineID"] for info in infos}) == 2
    assert "resource.k8s.io/v1\n" in kubectl("api-versions")


def test_a_pod_finds_another_on_another_node_by_the_name_of_its_service(kubectl: Kubectl) -> None:
    kubectl("wait", "--for=condition=Ready", "pods", "--all", "-nkube-system", "--timeout=60s")
    run = ("run", f"--image={WORKLOAD_IMAGE}", "--restart=Never")

    def on(node: str) -> str:
        return f"--overrides={json.dumps({'spec': {'nodeName': node}})}"

    serve = ("python3", "-m", "http.server", "8000", "--directory", "/usr")
    kubectl(*run, "server", on(WORKER), "--port=8000", "--expose", "--command", "--", *serve)
    kubectl("wait", "--for=condition=Ready", "pod/server", "--timeout=60s")
    address = "http://server.default.svc.cluster.local:8000/"
    ask = f"import urllib.request as u; print(u.urlopen('{address}', timeout=20).status)"
    for node in (WORKER, f"{NAME}-control-plane"):
        name = f"from-{node}"
        kubectl(*run, name, on(node), "--command", "--", "python3", "-c", ask)
        phase = "--for=jsonpath={.status.phase}=Succeeded"
        kubectl("wait", phase, f"pod/{name}", "--timeout=60s")
        assert kubectl("logs", name) == "200\n"


def test_a_node_that_is_restarted_comes_back(docker: DockerDaemon, kubectl: Kubectl) -> None:
    before = docker.run(["docker", "exec", WORKER, "readlink", "/usr/local/sbin/runc"])
    restarted = docker.run(["docker", "restart", WORKER])
    assert restarted.returncode == 0, restarted.stderr
    kubectl("wait", "--for=condition=Ready", f"node/{WORKER}", "--timeout=60s")
    again = f"pod/again-{WORKER}"
    kubectl("run", again.partition("/")[2], f"--image={WORKLOAD_IMAGE}", "--restart=Never")
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", again, "--timeout=60s")
    after = docker.run(["docker", "exec", WORKER, "readlink", "/usr/local/sbin/runc"])
    assert after.stdout == before.stdout
    failed = docker.run(["docker", "exec", WORKER, "systemctl", "--failed", "--no-legend"])
    assert failed.stdout.strip() == ""


def test_a_capability_that_the_machine_withholds_is_not_promised(docker: DockerDaemon) -> None:
    bounding = next(
        line.split()[1]
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapBnd")
    )
    has_it = bool(int(bounding, 16) >> 24 & 1)
    told = docker.run(["docker", "exec", WORKER, "readlink", "/usr/local/sbin/runc"])
    runc = "/usr/local/lib/dra-workshop/" + ("runc" if has_it else "runc-within-bounds")
    assert told.stdout.strip() == runc
