"""Module 0 on a host node: mocked GPUs only where nobody could take them for real ones."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from checks.prerequisites import host_node
from machine import gpu_host
from machine.host_networks import Networks
from tests.unit.fake_kube import findings

PARAMETERS = {"stack": "no-such-stack", "networks": asdict(Networks())}


@pytest.mark.parametrize("gpu", [True, False])
def test_a_machine_with_a_gpu_driver_is_given_no_mocked_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: bool
) -> None:
    """Neither where the lab needs a driver nor for a bare cluster, to which one may be added."""
    loaded, absent = tmp_path / "version", tmp_path / "dxg"
    loaded.touch()
    monkeypatch.setattr(gpu_host, "KERNEL_DRIVER", (loaded, absent))
    result = host_node.run("0", PARAMETERS | {"gpu": gpu, "gpus": "mocked"})
    assert result["status"] == "failed"
    found = findings(result)["no-gpu-driver"]
    assert (found["status"], found["found"]) == ("failed", f"a GPU driver is loaded: {loaded}")
    assert found["remedy"] == "set gpus=real, or use a machine without a GPU driver"


def test_a_machine_without_one_may_have_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_host, "KERNEL_DRIVER", (tmp_path / "version",))
    found = findings(host_node.run("0", PARAMETERS | {"gpu": True, "gpus": "mocked"}))
    assert found["no-gpu-driver"]["status"] == "passed"
    assert "gpu-driver" not in found
    assert {finding["basis"] for finding in found.values()} == {"real"}
