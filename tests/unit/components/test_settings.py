"""A value that cannot be used gives one line that names key, value and what is allowed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.settings import SettingsError, parse
from components.settings.model import SETTINGS
from components.simulated_gpus import gpu_uuid
from machine.configuration import read_configuration
from machine.host_networks import Networks

DEFAULTS = read_configuration("dev")


def test_defaults_of_the_project_are_valid() -> None:
    settings = parse(DEFAULTS, "dev")
    assert settings.modules == ("0", "1", "2", "3")
    assert (settings.nodes, settings.gpus_per_node) == (1, 2)
    assert settings.driver_chart == "./.tools/charts/dra-driver-nvidia-gpu-0.5.0"
    assert settings.strict


def test_every_key_of_the_project_is_known() -> None:
    assert set(DEFAULTS) == {setting.key for setting in SETTINGS.values()}


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("nodes", "2", "with node=host this machine is the only node: 1"),
        ("driverVersion", "0.4.1", "a host node runs 0.5.0 only"),
    ],
)
def test_what_a_host_node_cannot_be(key: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse(DEFAULTS | {"node": "host", key: value}, "dev")
    assert f"'{key}': '{value}'" in str(raised.value)
    assert allowed in str(raised.value)


def test_the_networks_of_a_host_node_can_be_chosen() -> None:
    assert parse(DEFAULTS, "dev").host_networks == Networks()
    given = '["172.30.0.0/20", "172.30.16.0/24", "172.30.20.0/22"]'
    found = parse(DEFAULTS | {"node": "host", "hostNetworks": given}, "dev").host_networks
    assert found == Networks("172.30.0.0/20", "172.30.16.0/24", "172.30.20.0/22")


@pytest.mark.parametrize(
    ("networks", "shown", "allowed"),
    [
        (["10.1.0.0/24", "10.2.0.0/24"], '["10.1', "three networks: of services, of the node"),
        (["10.1.0.0/24", "10.2.0.0/24", "pods"], "pods", "an IPv4 network, such as 10.253.0.0/24"),
        (["10.1.0.0/24", "10.2.0.0/24", "10.3.0.0"], "10.3.0.0", "from /16 to /24"),
        (["10.1.0.1/24", "10.2.0.0/24", "10.3.0.0/24"], "10.1.0.1/24", "an IPv4 network"),
        (["10.1.0.0/24", "10.2.0.0/24", "fd00::/64"], "fd00::/64", "an IPv4 network"),
        (["10.1.0.0/24", "10.2.0.0/25", "10.3.0.0/24"], "10.2.0.0/25", "from /16 to /24"),
        (["10.1.0.0/15", "10.2.0.0/24", "10.3.0.0/24"], "10.1.0.0/15", "an IPv4 network"),
        (["127.0.0.0/24", "10.2.0.0/24", "10.3.0.0/24"], "127.0.0.0/24", "private"),
        (["10.1.0.0/24", "8.8.8.0/24", "10.3.0.0/24"], "8.8.8.0/24", "private"),
        (["10.1.0.0/16", "10.2.0.0/24", "10.1.7.0/24"], "10.1.7.0/24", "overlaps with 10.1.0.0/16"),
    ],
)
def test_networks_that_cannot_be_used(networks: list[str], shown: str, allowed: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse(DEFAULTS | {"node": "host", "hostNetworks": json.dumps(networks)}, "dev")
    assert f"configuration key 'hostNetworks': '{shown}" in str(raised.value)
    assert allowed in str(raised.value)


def test_networks_of_ones_own_are_for_a_host_node() -> None:
    given = '["10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24"]'
    with pytest.raises(SettingsError, match="only with node=host"):
        parse(DEFAULTS | {"hostNetworks": given}, "dev")


def test_a_host_node_runs_the_driver_that_set_up_has_for_it() -> None:
    settings = parse(DEFAULTS | {"node": "host"}, "dev")
    assert settings.driver_version == "0.5.0"
    assert settings.driver_chart == "./.tools/charts/dra-driver-nvidia-gpu-0.5.0"


def test_which_gpus_a_host_has_is_not_known_beforehand() -> None:
    uuid = "GPU-b83343f0-ddfa-f18f-c57a-6148685663c8"
    settings = parse(DEFAULTS | {"node": "host", "target": uuid, "mpsMemoryLimit": "90Gi"}, "dev")
    assert settings.target == uuid


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("modules", '["3", "10"]', "allowed: 0, 1, 2, 3, 4, 5"),
        ("modules", '["3", "3"]', "each module is named once"),
        ("modules", "[]", "at least one of"),
        ("modules", "[3]", "a list of quoted strings"),
        ("modules", "3", "a list of quoted strings"),
        ("cluster", "kindd", "allowed: embedded"),
        ("node", "real", "allowed: simulated, host"),
        ("nodes", "0", "a whole number from 1 to 16"),
        ("nodes", "-1", "a whole number from 1 to 16"),
        ("nodes", "17", "a whole number from 1 to 16"),
        ("nodes", "two", "a whole number from 1 to 16"),
        ("gpusPerNode", "0", "a whole number from 1 to 16"),
        ("gpusPerNode", "1.5", "a whole number from 1 to 16"),
        *(
            (key, bad, "a whole number from")
            for key in ("nodes", "gpusPerNode", "mpsClients", "mpsSharePercentage")
            for bad in (" 3 ", "3 ", "+3", "٣", "03", "1_0", "", "0x3", "9" * 5000)
        ),
        *(
            ("mpsPercentages", json.dumps(["100", bad]), "a whole number from 1 to 100")
            for bad in (" 3 ", "+3", "٣", "03")
        ),
        ("kubernetesVersion", "1.3٦.4", "a version such as 1.37.2"),
        ("kubernetesVersion", "1.37.2 ", "a version such as 1.37.2"),
        ("driverVersion", "0.5.0 ", "a version such as"),
        ("strict", "True", "allowed: true, false"),
        ("strict", " true", "allowed: true, false"),
        ("installDriver", "TRUE", "allowed: true, false"),
        ("driverChart", "anything", "a folder with Chart.yaml, a packed chart (.tgz)"),
        ("driverChart", "docs", "a folder with Chart.yaml"),
        ("driverChart", "driver.tgz", "a folder with Chart.yaml, a packed chart (.tgz)"),
        ("driverChart", "https://example.test/chart", "or oci://HOST/NAME"),
        ("driverChart", "oci://", "or oci://HOST/NAME"),
        ("driverChart", "oci://host only", "or oci://HOST/NAME"),
        ("driverChart", "oci://example.test/Chart?", "or oci://HOST/NAME"),
        ("gpuProfile", "h300", "rtx4090, a100, h100, h200, gb200, gb10, t4"),
        ("kubernetesVersion", "latest", "a version such as 1.37.2"),
        ("kubernetesVersion", "v1.37.2", "a version such as 1.37.2"),
        ("driver", "amd", "allowed: nvidia"),
        ("driverVersion", "0.5", "a version such as"),
        ("driverVersion", "0.4.0", "0.4.1 or later"),
        ("driverVersion", "0.6.0", "set-up has the charts of 0.5.0; for another"),
        ("driverVersion", "0.4.1", "set-up has the charts of 0.5.0; for another"),
        ("featureGates", '["DRADeviceTaints"]', "Name=true or Name=false"),
        ("featureGates", '["A=true", "A=false"]', "A is named twice"),
        ("runtimeConfig", '["resource.k8s.io=yes"]', "group/version=true"),
        ("strict", "maybe", "allowed: true, false"),
        ("target", "gpu-0", "the UUID of a GPU"),
        ("target", "GPU-b83343f0-ddfa-f18f-c57a-6148685663c8", gpu_uuid("gpu-node-0", 1)),
        ("gpusPernode", "2", "there is no such key"),
        ("mpsPercentages", '["100", "0"]', "a whole number from 1 to 100"),
        ("mpsPercentages", '["100", "101"]', "a whole number from 1 to 100"),
        ("mpsPercentages", '["100", "half"]', "a whole number from 1 to 100"),
        ("mpsPercentages", '["100", "50", "50"]', "each percentage is named once"),
        ("mpsPercentages", '["50", "20"]', "100 must be among them"),
        ("mpsPercentages", "50", "a list of quoted strings"),
        ("mpsClients", "1", "a whole number from 2 to 48"),
        ("mpsClients", "49", "a whole number from 2 to 48"),
        ("mpsClients", "48.0", "a whole number from 2 to 48"),
        ("mpsSharePercentage", "0", "a whole number from 1 to 100"),
        ("mpsSharePercentage", "101", "a whole number from 1 to 100"),
        ("mpsSharePercentage", "half", "a whole number from 1 to 100"),
        ("mpsMemoryLimit", "1023Ki", "at least 1Mi"),
        ("mpsMemoryLimit", "0Gi", "at least 1Mi"),
        ("mpsMemoryLimit", "1024", "a whole number with Ki, Mi, Gi, Ti, such as 1Gi, or none"),
        ("mpsMemoryLimit", "1G", "a whole number with Ki, Mi, Gi, Ti, such as 1Gi, or none"),
        ("mpsMemoryLimit", "-1Gi", "a whole number with Ki, Mi, Gi, Ti, such as 1Gi, or none"),
        ("mpsMemoryLimit", "half", "a whole number with Ki, Mi, Gi, Ti, such as 1Gi, or none"),
        ("mpsMemoryLimit", "1Ti", "above the 143771 MiB that the GPU has (NVIDIA H200)"),
        ("mpsMemoryLimit", "47Gi", "3 clients of 48128 MiB need 144384 MiB, the GPU has 143771"),
    ],
)
def test_bad_values_are_named_with_what_is_allowed(key: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse(DEFAULTS | {key: value}, "dev")
    message = str(raised.value)
    assert f"configuration key '{key}'" in message
    assert allowed in message
    assert "\n" not in message


TWO = {"modules": '["2"]'}
SHARED = TWO | {"consumableShares": "4"}


@pytest.mark.parametrize("shares", ["", "memory", "unlimited", "1", "256"])
def test_how_several_claims_may_have_a_gpu(shares: str) -> None:
    given = DEFAULTS | TWO | {"consumableShares": shares}
    assert parse(given, "dev").consumable_shares == shares


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({"consumableShares": "half"}, "memory, unlimited, or a whole number from 1 to 256"),
        ({"consumableShares": "0"}, "memory, unlimited, or a whole number from 1 to 256"),
        ({"consumableShares": "disabled"}, "memory, unlimited, or a whole number from 1 to 256"),
        (
            {"driverVersion": "0.4.1", "driverChart": "oci://registry.test/chart"},
            "driver 0.4.1 does not have it; set driverVersion to 0.5.0 or later",
        ),
        (
            {"cluster": "kind", "kubernetesVersion": "1.35.2", "nodeImage": "localhost/node:1"},
            "Kubernetes 1.35.2 allocates a device to one claim only; set kubernetesVersion to "
            "1.36.0 or later",
        ),
        (
            {"cluster": "kind", "driver": "example"},
            "only for a driver=nvidia that the lab installs",
        ),
        (
            {"cluster": "existing", "context": "prod"},
            "only for a driver=nvidia that the lab installs",
        ),
        ({"modules": '["4"]'}, "driver 0.5.0 prepares no claim for MPS"),
        ({"modules": '["2", "5"]'}, "this stack's modules share a GPU (4, 5): leave it empty"),
        ({"modules": '["3"]'}, "module 3 shows claims that exclude each other: memory"),
        (
            {"modules": '["3"]', "consumableShares": "unlimited"},
            "module 3 shows claims that exclude each other: memory",
        ),
        (
            {"featureGates": '["DRAConsumableCapacity=false"]'},
            "without which a GPU has one claim: leave it empty",
        ),
        ({"gpuProfile": "gb10"}, "of a GPU without memory of its own (NVIDIA GB10): unlimited"),
    ],
)
def test_where_several_claims_cannot_have_a_gpu(changes: dict[str, str], allowed: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse(DEFAULTS | SHARED | changes, "dev")
    message = str(raised.value)
    assert "configuration key 'consumableShares'" in message
    assert allowed in message
    assert "\n" not in message


def test_a_claim_that_takes_all_memory_excludes_the_next() -> None:
    memory = {"modules": '["3"]', "consumableShares": "memory"}
    assert parse(DEFAULTS | memory, "dev").consumable_shares == "memory"


@pytest.mark.parametrize("stack", ["My_Stack", "-lab", "lab-", "a" * 64, "käse"])
def test_a_stack_name_that_is_no_dns_label_is_refused(stack: str) -> None:
    with pytest.raises(SettingsError, match="small letters, digits and inner hyphens"):
        parse(DEFAULTS, stack)


@pytest.mark.parametrize(
    "chart",
    ["oci://example.test/chart", "oci://localhost:5000/charts/dra:0.6.0", "FOLDER", "FOLDER.tgz"],
)
def test_another_chart_allows_another_version(chart: str, tmp_path: Path) -> None:
    (tmp_path / "FOLDER").mkdir()
    (tmp_path / "FOLDER" / "Chart.yaml").touch()
    (tmp_path / "FOLDER.tgz").touch()
    chart = chart.replace("FOLDER", f"{tmp_path}/FOLDER")
    other = {"driverVersion": "0.6.0", "driverChart": chart}
    assert parse(DEFAULTS | other, "dev").driver_chart == chart


@pytest.mark.parametrize(
    ("given", "mib"),
    [("1Gi", 1024), ("1Mi", 1), ("46Gi", 47104), ("1536Ki", 1), ("512Mi", 512)],
)
def test_a_memory_limit_counts_in_whole_mib(given: str, mib: int) -> None:
    assert parse(DEFAULTS | {"mpsMemoryLimit": given}, "dev").mps_memory_mib == mib


def test_for_gpus_that_use_the_machines_memory_there_is_no_limit() -> None:
    assert parse(DEFAULTS | {"mpsMemoryLimit": "none"}, "dev").mps_memory_mib == 0


def test_a_limit_for_such_gpus_is_refused_where_module_5_would_set_it() -> None:
    gb10 = DEFAULTS | {"gpuProfile": "gb10"}
    parse(gb10, "dev")
    five = {"modules": '["5"]'}
    with pytest.raises(
        SettingsError, match=r"'mpsMemoryLimit'.*machine's memory.*GB10.*allowed: none"
    ):
        parse(gb10 | five, "dev")
    parse(gb10 | five | {"mpsMemoryLimit": "none"}, "dev")


def test_the_card_of_the_profile_decides_what_fits() -> None:
    with pytest.raises(SettingsError, match="Tesla T4"):
        parse(DEFAULTS | {"gpuProfile": "t4", "mpsMemoryLimit": "8Gi"}, "dev")
    few = {"gpuProfile": "t4", "mpsMemoryLimit": "7Gi", "mpsClients": "2"}
    assert parse(DEFAULTS | few, "dev").mps_clients == 2


def test_a_target_among_the_simulated_gpus_is_taken() -> None:
    uuid = gpu_uuid("gpu-node-1", 0)
    assert parse(DEFAULTS | {"nodes": "2", "target": uuid}, "dev").target == uuid


UUID = "GPU-b83343f0-ddfa-f18f-c57a-6148685663c8"
EXISTING = {"cluster": "existing", "context": "prod", "target": UUID}


def test_of_a_cluster_of_others_the_driver_is_not_installed_unless_that_is_asked_for() -> None:
    settings = parse(DEFAULTS | EXISTING, "module3")
    assert (settings.cluster, settings.context, settings.target) == ("existing", "prod", UUID)
    assert not settings.install_driver
    assert parse(DEFAULTS | EXISTING | {"installDriver": "true"}, "module3").install_driver
    assert parse(DEFAULTS, "module3").install_driver


@pytest.mark.parametrize(
    ("changes", "key", "allowed"),
    [
        ({"context": ""}, "context", "name the one to use"),
        ({"target": ""}, "target", "name the one GPU that the lab may use, by its UUID"),
        ({"target": "gpu-0"}, "target", "the UUID of a GPU"),
        ({"node": "host"}, "node", "a host node belongs to cluster=embedded"),
        ({"installDriver": "maybe"}, "installDriver", "allowed: true, false"),
        ({"cluster": "embedded", "target": ""}, "context", "only with cluster=existing"),
        (
            {"cluster": "embedded", "context": "", "target": "", "installDriver": "false"},
            "installDriver",
            "false is for cluster=existing",
        ),
    ],
)
def test_what_a_cluster_of_others_cannot_be(
    changes: dict[str, str], key: str, allowed: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        parse(DEFAULTS | EXISTING | changes, "module3")
    assert f"configuration key '{key}'" in str(raised.value)
    assert allowed in str(raised.value)


def test_without_a_module_that_uses_a_gpu_no_target_is_needed() -> None:
    parse(DEFAULTS | EXISTING | {"target": "", "modules": '["2"]'}, "module2")
