"""What the workers of a Kind cluster need of this machine's GPUs, told by its CDI spec."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from machine import cdi, docker, gpu_host, kind_gpus
from machine.errors import LabError
from tests import mocks

UUIDS = [f"GPU-{digit * 8}-dead-beef-cafe-{digit * 12}" for digit in "012"]
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
ASK = "/var/run/nvidia-container-devices"

Tell = Callable[..., dict[str, Any]]


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def spec_of(folder: Path, gpus: int) -> dict[str, Any]:
    """A driver in the folder, with its CDI spec."""
    rows = "".join(f"{uuid}, NVIDIA L4, 23034, 8.9, Default, 580.1\\n" for uuid in UUIDS[:gpus])
    smi = program(folder / "bin" / "nvidia-smi", f"printf '{rows}'")
    library = folder / "lib" / "libnvidia-ml.so.580.1"
    library.parent.mkdir()
    library.touch()
    mounts = [{"hostPath": str(path), "containerPath": str(path)} for path in (smi, library)]
    devices: list[dict[str, Any]] = [
        {"name": str(i), "containerEdits": {"deviceNodes": [{"path": f"/dev/nvidia{i}"}]}}
        for i in range(gpus)
    ]
    every = [node for device in devices for node in device["containerEdits"]["deviceNodes"]]
    return {
        "cdiVersion": "0.5.0",
        "kind": "nvidia.com/gpu",
        "devices": [*devices, {"name": "all", "containerEdits": {"deviceNodes": every}}],
        "containerEdits": {"mounts": mounts},
    }


@pytest.fixture
def toolkit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Puts an nvidia-ctk of the given shell lines in the place of set-up's, on a machine without
    a kernel driver or a CDI spec."""
    monkeypatch.setattr(gpu_host, "KERNEL_DRIVER", ())
    monkeypatch.setattr(gpu_host, "_is_script", lambda _: False)
    monkeypatch.setattr(cdi, "FOLDERS", ())
    monkeypatch.setattr("platform.machine", lambda: "x86_64")

    def put(script: str) -> None:
        monkeypatch.setattr(gpu_host, "CTK", program(tmp_path / "toolkit" / "nvidia-ctk", script))

    return put


@pytest.fixture
def tell(toolkit: Callable[[str], None], tmp_path: Path) -> Tell:
    """What is told on a machine with three GPUs."""
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(spec_of(tmp_path / "driver", 3)))
    toolkit(f"cat {spec}")

    def told(mounts: str = "cdi", subsets: list[list[int]] | None = None) -> dict[str, Any]:
        found = kind_gpus.describe(mounts, subsets or [])
        copy: dict[str, Any] = json.loads(json.dumps(found))
        return copy

    return told


def containers(worker: dict[str, Any]) -> list[str]:
    return [mount["container"] for mount in worker["mounts"]]


def test_one_worker_gets_all_gpus_where_nothing_else_is_said(tell: Tell) -> None:
    told = tell()
    (worker,) = told["workers"]
    assert worker["gpus"] == told["uuids"] == UUIDS
    assert containers(worker) == ["/usr/bin/nvidia-smi", f"{LIBRARIES}/libnvidia-ml.so.580.1"]
    assert [device["path"] for device in worker["devices"]] == [
        "/dev/nvidia0", "/dev/nvidia1", "/dev/nvidia2",
    ]  # fmt: skip
    assert (worker["hidden"], worker["mask_params"]) == ([], False)


def test_the_facts_that_the_stack_exports(tell: Tell) -> None:
    facts = tell()["facts"]
    assert [gpu["uuid"] for gpu in facts["gpus"]] == UUIDS
    assert (facts["kind"], facts["driverVersion"], facts["mounts"]) == ("container", "580.1", "cdi")
    assert facts["notes"] == []


def test_what_is_printed_is_what_the_graph_is_tested_with(tell: Tell) -> None:
    mocked = mocks.gpu_host({"mounts": "cdi", "subsets": []})
    printed = kind_gpus.summary(tell())
    assert printed.keys() == mocked.keys()
    assert printed["workers"][0].keys() == mocked["workers"][0].keys()
    assert printed["facts"].keys() == mocked["facts"].keys()


def test_each_worker_gets_its_own_gpus_and_is_not_shown_the_others(tell: Tell) -> None:
    told = tell(subsets=[[0, 2], [1]])
    one, two = told["workers"]
    assert (one["gpus"], two["gpus"]) == ([UUIDS[0], UUIDS[2]], [UUIDS[1]])
    assert told["uuids"] == [UUIDS[0], UUIDS[2], UUIDS[1]]
    assert one["hidden"] == ["/dev/nvidia1"]
    assert two["hidden"] == ["/dev/nvidia0", "/dev/nvidia2"]
    assert one["mask_params"], "else the driver's libraries make the hidden ones anew"


def test_a_machine_may_keep_gpus_for_itself(tell: Tell) -> None:
    told = tell(subsets=[[1]])
    assert told["uuids"] == [UUIDS[1]]
    assert len(told["facts"]["gpus"]) == 3


def test_the_toolkit_is_asked_by_mounts(tell: Tell) -> None:
    assert containers(tell("toolkit")["workers"][0]) == [f"{ASK}/all"]
    workers = tell("toolkit", [[0, 2], [1]])["workers"]
    assert list(map(containers, workers)) == [[f"{ASK}/0", f"{ASK}/2"], [f"{ASK}/1"]]


def test_a_gpu_that_is_not_there_is_named(tell: Tell) -> None:
    with pytest.raises(LabError, match="'gpuSubsets': this machine has no GPU 3; it has 3"):
        tell(subsets=[[0], [3]])


@pytest.mark.parametrize(
    ("runtime", "config", "chosen"),
    [
        ("nvidia", f"{kind_gpus.VOLUME_MOUNTS} = true", "toolkit"),
        ("nvidia", f"{kind_gpus.VOLUME_MOUNTS} = false", "cdi"),
        ("nvidia", "", "cdi"),
        ("nvidia", None, "cdi"),
        ("nvidia", "no = [toml", "cdi"),
        ("runc", f"{kind_gpus.VOLUME_MOUNTS} = true", "cdi"),
    ],
)
def test_auto_is_what_docker_is_set_up_for(
    tell: Tell,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    runtime: str,
    config: str | None,
    chosen: str,
) -> None:
    path = tmp_path / "config.toml"
    if config is not None:
        path.write_text(config)
    looks = functools.partial(kind_gpus.takes_volume_mounts, path)
    monkeypatch.setattr(kind_gpus, "takes_volume_mounts", looks)
    monkeypatch.setattr(docker, "info", lambda: {"DefaultRuntime": runtime})
    told = tell("auto")
    assert told["facts"]["mounts"] == chosen
    assert (containers(told["workers"][0]) == [f"{ASK}/all"]) is (chosen == "toolkit")


@pytest.mark.parametrize("mounts", ["toolkit", "cdi"])
def test_what_is_said_needs_no_docker(
    tell: Tell, monkeypatch: pytest.MonkeyPatch, mounts: str
) -> None:
    monkeypatch.setattr(docker, "PROGRAM", "no-such-program")
    assert tell(mounts)["uuids"] == UUIDS


def test_files_that_are_gone_are_named_before_docker_makes_folders_of_them(
    tell: Tell, tmp_path: Path
) -> None:
    (tmp_path / "driver" / "lib" / "libnvidia-ml.so.580.1").unlink()
    with pytest.raises(LabError, match="names files that do not exist"):
        tell()


def test_a_machine_without_a_driver(toolkit: Callable[[str], None]) -> None:
    toolkit("echo 'failed to initialize NVML: ERROR_LIBRARY_NOT_FOUND' >&2; exit 1")
    with pytest.raises(gpu_host.NoDriver, match=r"finds no GPU driver.*install NVIDIA's driver"):
        kind_gpus.describe("cdi", [])


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'failed to initialize NVML: ERROR_DRIVER_NOT_LOADED' >&2; exit 1", "NOT_LOADED"),
        ("echo 'Driver/library version mismatch' >&2; exit 1", "version mismatch"),
        ("exit 3", "without a word"),
        ("echo no spec", "prints no JSON"),
        ("echo '{}'", "has no cdiVersion"),
        ("""echo '{"cdiVersion": "1.2.0"}'""", "'1.2.0' is not known"),
    ],
)
def test_what_is_broken_is_not_taken_for_no_gpu(
    toolkit: Callable[[str], None], script: str, said: str
) -> None:
    toolkit(script)
    with pytest.raises(LabError, match=said) as caught:
        kind_gpus.describe("cdi", [])
    assert not isinstance(caught.value, gpu_host.NoDriver)


def test_without_the_toolkit_the_spec_that_lies_there_will_do(
    toolkit: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu_host, "CTK", tmp_path / "nvidia-ctk")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(cdi, "FOLDERS", (tmp_path / "cdi",))
    with pytest.raises(gpu_host.NoToolkit, match="not on PATH"):
        kind_gpus.describe("cdi", [])
    (tmp_path / "cdi").mkdir()
    spec = spec_of(tmp_path / "driver", 1)
    (tmp_path / "cdi" / "nvidia.json").write_text(json.dumps(spec))
    assert kind_gpus.describe("cdi", [])["facts"]["driverVersion"] == "580.1"
