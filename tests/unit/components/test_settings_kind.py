"""Settings of clusters in containers and of clusters that are there: what they cannot be."""

from __future__ import annotations

import json
import re

import pulumi
import pytest

from components.settings import SettingsError, parse
from machine import cluster_state
from machine.configuration import read_configuration
from machine.kind_images import DIGESTS
from tests.unit.graph import build

UUID = "GPU-b83343f0-ddfa-f18f-c57a-6148685663c8"
DEFAULTS = read_configuration("dev")
KIND = DEFAULTS | {"cluster": "kind"}
EXAMPLE = KIND | {"driver": "example"}
EXISTING = DEFAULTS | {"cluster": "existing", "context": "work", "target": UUID}


def subsets(*each: str) -> str:
    return json.dumps(each)


def refused(given: dict[str, str], key: str, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse(given, "dev")
    message = str(raised.value)
    assert f"configuration key '{key}'" in message
    assert said in message
    assert "\n" not in message


# --- kind --------------------------------------------------------------------------------------


def test_a_kind_cluster_as_it_is_without_further_words() -> None:
    settings = parse(KIND, "dev")
    assert (settings.cluster, settings.node, settings.driver) == ("kind", "own", "nvidia")
    assert settings.driver_version == "0.5.0"
    assert (settings.node_image, settings.gpu_mounts, settings.gpu_subsets) == ("", "auto", ())
    assert settings.install_driver


def test_the_example_driver_has_a_version_and_a_chart_of_its_own() -> None:
    settings = parse(EXAMPLE, "dev")
    assert settings.driver_version == "0.4.0"
    assert settings.driver_chart == "./.tools/charts/dra-example-driver-0.4.0"
    assert parse(EXAMPLE | {"driverVersion": "0.4.0"}, "dev").driver_version == "0.4.0"


@pytest.mark.parametrize("version", DIGESTS)
def test_versions_that_kind_has_images_of(version: str) -> None:
    assert parse(KIND | {"kubernetesVersion": version}, "dev").kubernetes_version == version


@pytest.mark.parametrize(
    "image",
    [
        "localhost/dra-workshop/kind-node:v1.36.4-791639923b57",
        "registry.test:5000/node",
        f"kindest/node:v1.36.4@sha256:{DIGESTS['1.36.4']}",
        "sha256:2c4a8f362b43",
    ],
)
def test_images_as_docker_names_them(image: str) -> None:
    assert parse(KIND | {"nodeImage": image}, "dev").node_image == image


def test_with_an_image_of_ones_own_any_version_will_do() -> None:
    other = {"kubernetesVersion": "1.34.2", "nodeImage": "localhost/node:1"}
    assert parse(KIND | other, "dev").node_image == "localhost/node:1"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("cluster", "minikube", "allowed: embedded, kind, existing"),
        ("node", "host", "a host node belongs to cluster=embedded"),
        ("node", "real", "allowed: simulated, host"),
        ("nodes", "0", "a whole number from 1 to 16"),
        ("kubernetesVersion", "1.36.3", f"kind has images of {', '.join(DIGESTS)}; for another"),
        ("kubernetesVersion", "1.36", "a version such as"),
        ("featureGates", '["DRAAdminAcces=true"]', "there is no such gate of DRA"),
        ("driver", "amd", "allowed: nvidia, example"),
        ("nodeImage", "my node", "a reference, such as kindest/node:v1.37.0"),
        ("nodeImage", "--privileged", "a reference, such as"),
        ("nodeImage", "node@sha256:12", "a reference, such as"),
        ("nodeImage", "registry.test:5000/Node", "a reference, such as"),
        ("gpuMounts", "bind", "allowed: auto, toolkit, cdi"),
        ("gpuMounts", "", "allowed: auto, toolkit, cdi"),
        ("gpuSubsets", subsets("0,1"), "indices of GPUs joined by +, such as 0+1"),
        ("gpuSubsets", subsets("0+"), "indices of GPUs joined by +"),
        ("gpuSubsets", subsets(""), "indices of GPUs joined by +"),
        ("gpuSubsets", subsets("-1"), "indices of GPUs joined by +"),
        ("gpuSubsets", subsets("GPU-1"), "indices of GPUs joined by +"),
        ("gpuSubsets", "[0]", "a list of quoted strings"),
        ("gpuSubsets", "0+1", "a list of quoted strings"),
        ("gpuSubsets", subsets("0", "1"), "one for each node: nodes is 1"),
        ("gpuSubsets", subsets("0+0"), "a GPU belongs to one node"),
        ("installDriver", "false", "false is for cluster=existing"),
        ("installDriver", "maybe", "allowed: true, false"),
        ("context", "work", "only with cluster=existing"),
        ("kubeconfig", "other/config", "only with cluster=existing"),
        ("target", "0", "the UUID of a GPU"),
        ("gpus", "fake", "allowed: real, mocked"),
    ],
)
def test_what_a_kind_cluster_cannot_be(key: str, value: str, said: str) -> None:
    refused(KIND | {key: value}, key, said)


def test_mocked_gpus_need_nvidias_driver_and_none_of_this_machine() -> None:
    mocked = KIND | {"gpus": "mocked", "nodes": "2"}
    assert parse(mocked, "dev").gpus == "mocked"
    refused(EXAMPLE | {"gpus": "mocked"}, "gpus", "with driver=example")
    refused(mocked | {"gpuSubsets": subsets("0", "1")}, "gpuSubsets", "gpus=real")
    refused(DEFAULTS | {"gpus": "mocked"}, "gpus", "node=host and cluster=kind")


def test_the_webhook_comes_with_nvidias_driver() -> None:
    assert parse(KIND, "dev").webhook
    assert not parse(KIND | {"webhook": "false"}, "dev").webhook
    assert not parse(EXAMPLE, "dev").webhook
    refused(EXAMPLE | {"webhook": "true"}, "webhook", "driver=nvidia")
    assert not parse(EXISTING, "dev").webhook
    refused(EXISTING | {"webhook": "true"}, "webhook", "not for cluster=existing")


def test_a_gate_that_comes_with_a_later_version() -> None:
    given = KIND | {"kubernetesVersion": "1.36.4"}
    gates = '["DRADerivedAttributes=true"]'
    refused(given | {"featureGates": gates}, "featureGates", "it came with 1.37")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "with nodes=2 say which GPUs each has, as in 0,1"),
        ("0", "one for each node: nodes is 2"),
        ("0 1 2", "one for each node: nodes is 2"),
        ("0+1 2", "every node has as many GPUs as the others"),
        ("0+1 1+2", "a GPU belongs to one node"),
    ],
)
def test_subsets_that_two_nodes_cannot_have(given: str, said: str) -> None:
    refused(KIND | {"nodes": "2", "gpuSubsets": subsets(*given.split())}, "gpuSubsets", said)


def test_subsets_that_two_nodes_can_have() -> None:
    given = {"nodes": "2", "gpuSubsets": subsets("0+3", "1+2")}
    assert parse(KIND | given, "dev").gpu_subsets == ((0, 3), (1, 2))


def test_nodes_that_need_no_gpu_need_no_subsets() -> None:
    assert parse(EXAMPLE | {"nodes": "3"}, "dev").nodes == 3
    bare = {"nodes": "3", "modules": '["1"]'}
    assert parse(KIND | bare, "dev").gpu_subsets == ()


def test_mocks_are_no_gpus_to_give_to_nodes() -> None:
    refused(EXAMPLE | {"gpuSubsets": subsets("0")}, "gpuSubsets", "only with driver=nvidia")


@pytest.mark.parametrize(
    ("key", "value"), [("nodeImage", "localhost/node:1"), ("gpuSubsets", subsets("0"))]
)
def test_what_only_a_kind_cluster_has(key: str, value: str) -> None:
    refused(DEFAULTS | {key: value}, key, "only with cluster=kind")


# --- the example driver ------------------------------------------------------------------------


@pytest.mark.parametrize("node", ["simulated", "host"])
def test_an_embedded_cluster_does_not_run_the_example_driver(node: str) -> None:
    given = DEFAULTS | {"driver": "example", "node": node}
    refused(given, "driver", "the example driver needs cluster=kind or existing")


@pytest.mark.parametrize(("modules", "named"), [('["4"]', "4"), ('["3", "5"]', "4")])
def test_mocks_are_not_shared_by_mps(modules: str, named: str) -> None:
    refused(EXAMPLE | {"modules": modules}, "driver", f"module {named} shares a GPU by MPS: nvidia")


@pytest.mark.parametrize("version", ["0.5.0", "0.4.1", "new"])
def test_the_example_driver_has_one_version(version: str) -> None:
    refused(EXAMPLE | {"driverVersion": version}, "driverVersion", "of driver=example: 0.4.0")


def test_a_claim_for_a_named_mock_is_possible() -> None:
    uuid = "gpu-18db0e85-99e9-c746-8531-ffeb86328b39"
    assert parse(EXAMPLE | {"target": uuid}, "dev").target == uuid


# --- existing ----------------------------------------------------------------------------------


def test_an_existing_cluster_is_left_as_it_is_unless_it_is_said() -> None:
    settings = parse(EXISTING, "dev")
    assert (settings.node, settings.context, settings.target) == ("own", "work", UUID)
    assert not settings.install_driver
    assert parse(EXISTING | {"installDriver": "true"}, "dev").install_driver


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("context", "", "name the one to use; `kubectl config get-contexts` lists them"),
        ("target", "", "name the one GPU that the lab may use, by its UUID"),
        ("node", "host", "a host node belongs to cluster=embedded"),
        ("nodeImage", "localhost/node:1", "only with cluster=kind"),
        ("gpuSubsets", subsets("0"), "only with cluster=kind"),
        ("installDriver", "perhaps", "allowed: true, false"),
    ],
)
def test_what_an_existing_cluster_cannot_be(key: str, value: str, said: str) -> None:
    refused(EXISTING | {key: value}, key, said)


def test_modules_that_use_no_gpu_need_no_target() -> None:
    assert parse(EXISTING | {"target": "", "modules": '["2"]'}, "dev").target == ""


# --- the image of pods -------------------------------------------------------------------------

LOCAL = "localhost/dra-workshop/workload:1"


@pytest.mark.parametrize(
    ("given", "local"),
    [
        (DEFAULTS, True),
        (DEFAULTS | {"node": "host", "nodes": "1"}, True),
        (KIND, True),
        (EXISTING, False),
    ],
    ids=["simulated", "host", "kind", "existing"],
)
def test_pods_have_set_ups_image_where_nodes_do_and_a_public_one_elsewhere(
    given: dict[str, str], local: bool
) -> None:
    image = parse(given, "dev").workload_image
    assert (image == LOCAL) is local
    if not local:
        assert re.fullmatch(
            r"docker\.io/library/python:3\.[0-9.]+-slim.*@sha256:[0-9a-f]{64}", image
        )
    named = {"workloadImage": "registry.test:5000/team/python@sha256:" + "0" * 64}
    assert parse(given | named, "dev").workload_image == named["workloadImage"]


@pytest.mark.parametrize(
    "value",
    ["Python:3.13", "python 3", "python:3.13@sha256:12", "python:", "a//b", "--x", "/python"],
)
def test_what_no_runtime_reads_as_an_image_is_refused(value: str) -> None:
    said = "a reference, such as docker.io/library/python:3.13"
    refused(DEFAULTS | {"workloadImage": value}, "workloadImage", said)


# --- a stack has one cluster at a time ---------------------------------------------------------


@pytest.mark.parametrize(
    ("has", "cluster", "taken"),
    [
        ("", "kind", True),
        ("kind", "kind", True),
        ("embedded", "embedded", True),
        ("embedded", "kind", False),
        ("kind", "embedded", False),
    ],
)
def test_a_stack_whose_cluster_is_of_another_kind_is_told_to_remove_it_first(
    monkeypatch: pytest.MonkeyPatch, has: str, cluster: str, taken: bool
) -> None:
    monkeypatch.setattr(cluster_state, "kind_of", lambda _: has)
    if taken:
        assert "Command/cluster" in build("module1", cluster=cluster).resources
        return
    with pytest.raises(pulumi.RunError, match="first: make destroy STACK=module1") as raised:
        build("module1", cluster=cluster)
    assert f"'cluster': '{cluster}' is not allowed" in str(raised.value)
    assert f"has a cluster of kind {has}" in str(raised.value)
