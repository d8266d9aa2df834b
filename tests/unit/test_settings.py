"""A value that cannot be used gives one line that names key, value and what is allowed."""

from __future__ import annotations

import pytest

from components.gpu_node import gpu_uuid
from components.settings import KEYS, SettingsError, parse
from operations import stacks

DEFAULTS = stacks.current("dev")


def test_defaults_of_the_project_are_valid() -> None:
    settings = parse(DEFAULTS, "dev")
    assert settings.modules == ("0", "1", "2", "3")
    assert settings.expected_devices == 2
    assert settings.driver_chart == "./.tools/charts/dra-driver-nvidia-gpu-0.5.0"
    assert settings.strict


def test_every_key_of_the_project_is_known() -> None:
    assert set(DEFAULTS) == set(KEYS)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("modules", '["3", "10"]', "allowed: 0, 1, 2, 3"),
        ("modules", '["3", "3"]', "each module is named once"),
        ("modules", "[]", "at least one of"),
        ("modules", "[3]", "a list of quoted strings"),
        ("modules", "3", "a list of quoted strings"),
        ("cluster", "kindd", "allowed: embedded"),
        ("node", "real", "allowed: simulated"),
        ("nodes", "0", "a whole number from 1 to 16"),
        ("nodes", "-1", "a whole number from 1 to 16"),
        ("nodes", "17", "a whole number from 1 to 16"),
        ("nodes", "two", "a whole number from 1 to 16"),
        ("gpusPerNode", "0", "a whole number from 1 to 16"),
        ("gpusPerNode", "1.5", "a whole number from 1 to 16"),
        ("gpuProfile", "h300", "rtx4090, a100, h100, h200, gb200, t4"),
        ("kubernetesVersion", "latest", "a version such as 1.36.4"),
        ("kubernetesVersion", "v1.36.4", "a version such as 1.36.4"),
        ("driver", "amd", "allowed: nvidia"),
        ("driverVersion", "0.5", "a version such as"),
        ("driverVersion", "0.4.0", "0.4.1 or later"),
        ("driverVersion", "0.6.0", "set-up has the charts of 0.5.0, 0.4.1"),
        ("featureGates", '["DRADeviceTaints"]', "Name=true or Name=false"),
        ("featureGates", '["A=true", "A=false"]', "A is named twice"),
        ("runtimeConfig", '["resource.k8s.io=yes"]', "group/version=true"),
        ("strict", "maybe", "allowed: true, false"),
        ("target", "gpu-0", "the UUID of a GPU"),
        ("target", "GPU-b83343f0-ddfa-f18f-c57a-6148685663c8", gpu_uuid("gpu-node-0", 1)),
        ("gpusPernode", "2", "there is no such key"),
    ],
)
def test_bad_values_are_named_with_what_is_allowed(key: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse(DEFAULTS | {key: value}, "dev")
    message = str(raised.value)
    assert f"configuration key '{key}'" in message
    assert allowed in message
    assert "\n" not in message


@pytest.mark.parametrize("stack", ["My_Stack", "-lab", "lab-", "a" * 64, "käse"])
def test_a_stack_name_that_is_no_dns_label_is_refused(stack: str) -> None:
    with pytest.raises(SettingsError, match="small letters, digits and inner hyphens"):
        parse(DEFAULTS, stack)


def test_another_chart_allows_another_version() -> None:
    other = {"driverVersion": "0.6.0", "driverChart": "oci://example.test/chart"}
    assert parse(DEFAULTS | other, "dev").driver_chart == "oci://example.test/chart"


def test_a_target_among_the_simulated_gpus_is_taken() -> None:
    uuid = gpu_uuid("gpu-node-1", 0)
    assert parse(DEFAULTS | {"nodes": "2", "target": uuid}, "dev").target == uuid
