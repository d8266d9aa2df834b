"""Where a machine's GPU driver lies and which GPUs it has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from machine import cdi, gpu_host
from machine.errors import LabError

H200 = Path("tests/data/cdi-h200.json")
"""What nvidia-ctk 1.19.1 printed on a machine whose driver lies in a folder of its own."""
GB10, JETSON = Path("tests/data/gb10-nvidia-smi.csv"), Path("tests/data/cdi-jetson-orin.json")
UUID = "GPU-f1056031-d9fd-8c0f-fdc9-95892d0588f9"


def spec_of(*paths: str) -> dict[str, Any]:
    return {"containerEdits": {"mounts": [{"hostPath": path} for path in paths]}}


def program(folder: Path, text: str, name: str = "nvidia-smi") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def driver(folder: Path) -> gpu_host.Driver:
    return gpu_host.Driver(folder, folder, "580.159.04")


def test_the_driver_of_a_real_spec() -> None:
    found = gpu_host.find(json.loads(H200.read_text()))
    assert found.programs == Path("/usr/local/nvidia/bin")
    assert found.libraries == Path("/usr/local/nvidia/lib64")
    assert found.version == "580.159.04"
    assert not found.usual


@pytest.mark.parametrize(
    ("spec", "lacking"),
    [
        ({}, "nvidia-smi"),
        ({"containerEdits": None}, "nvidia-smi"),
        (spec_of("/usr/lib64/libnvidia-ml.so.580.1"), "nvidia-smi"),
        (spec_of("/usr/bin/nvidia-smi", "/usr/lib64/libcuda.so.580.1"), "libnvidia-ml"),
    ],
)
def test_a_spec_without_the_driver_says_what_it_lacks(spec: dict[str, Any], lacking: str) -> None:
    with pytest.raises(LabError, match=f"has no {lacking}.*install"):
        gpu_host.find(spec)


@pytest.mark.parametrize(
    ("programs", "libraries", "link", "usual"),
    [
        ("/usr/bin", "/usr/lib/x86_64-linux-gnu", False, True),
        ("/usr/bin", "/usr/lib64", False, True),
        ("/usr/bin", "/usr/lib/aarch64-linux-gnu", False, True),
        ("/usr/bin", "/usr/lib64", True, False),
        ("/usr/bin", "/usr/lib", False, False),
        ("/opt/bin", "/usr/lib64", False, False),
    ],
)
def test_where_the_plugin_finds_the_driver_by_itself(
    monkeypatch: pytest.MonkeyPatch, programs: str, libraries: str, link: bool, usual: bool
) -> None:
    monkeypatch.setattr(Path, "is_symlink", lambda _: link)
    assert gpu_host.Driver(Path(programs), Path(libraries), "1").usual is usual


@pytest.mark.parametrize("place", ["nvidia/lib64", "usr/lib/x86_64-linux-gnu"])
def test_a_script_that_calls_nvidia_smi_is_passed_over(tmp_path: Path, place: str) -> None:
    """A container gets the driver's folders only: there the script would find nothing to call."""
    script = program(tmp_path / "local", "#!/bin/sh\nexec elsewhere/nvidia-smi\n")
    library = tmp_path / place / "libnvidia-ml.so.580.1"
    spec = spec_of(str(script), str(library))
    with pytest.raises(LabError, match=r"is a script, .* first in PATH"):
        gpu_host.find(spec)
    itself = program(tmp_path / place.partition("/")[0] / "bin", "\x7fELF")
    assert gpu_host.find(spec) == gpu_host.Driver(itself.parent, library.parent, "580.1")


def test_every_program_of_the_driver_is_meant_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node, too, gets files of the driver and nothing else of the host."""
    names = ("nvidia-smi", "nvidia-cuda-mps-control", "nvidia-debugdump")
    scripts = [program(tmp_path / "local", "#!/bin/sh\n", name) for name in names]
    for name in names[:2]:
        program(tmp_path / "nvidia" / "bin", "\x7fELF", name)
    library = tmp_path / "nvidia" / "lib64" / "libnvidia-ml.so.580.1"
    spec = {"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [{"name": "all"}]}
    spec |= spec_of(*map(str, scripts), str(library))
    monkeypatch.setattr(gpu_host, "cdi_spec", lambda: spec)
    monkeypatch.setattr(cdi, "validate", lambda *_: None)
    mounts = gpu_host.described()["containerEdits"]["mounts"]
    assert [Path(mount["hostPath"]).relative_to(tmp_path).parts[0] for mount in mounts] == [
        "nvidia", "nvidia", "local", "nvidia"
    ]  # fmt: skip


def test_gpus_as_nvidia_smi_tells(tmp_path: Path) -> None:
    program(tmp_path, f"#!/bin/sh\necho '{UUID}, NVIDIA H200, 143771, 9.0, Default, 580.159.04'\n")
    assert gpu_host.gpus(driver(tmp_path)) == [
        gpu_host.Gpu(UUID, "NVIDIA H200", 143771, "9.0", "Default", "580.159.04")
    ]


def test_a_gpu_without_memory_of_its_own_is_a_gpu(tmp_path: Path) -> None:
    """What nvidia-smi says of a GB10, whose memory is the machine's."""
    program(tmp_path, f"#!/bin/sh\ncat {GB10.absolute()}\n")
    (gpu,) = gpu_host.gpus(driver(tmp_path))
    assert (gpu.product, gpu.memory_mib, gpu.compute_mode) == ("NVIDIA GB10", None, "Default")
    assert not gpu.reserved


@pytest.mark.parametrize("nothing", ["[N/A]", "[Not Supported]", "N/A"])
def test_a_gpu_that_has_no_compute_mode_is_not_reserved(tmp_path: Path, nothing: str) -> None:
    program(tmp_path, f"#!/bin/sh\necho '{UUID}, GRID A100, 40960, 8.0, {nothing}, 580.1'\n")
    (gpu,) = gpu_host.gpus(driver(tmp_path))
    assert not gpu.reserved


@pytest.mark.parametrize(
    ("row", "lacking"),
    [
        (f"{UUID}, NVIDIA H200, [Unknown Error], 9.0, Default, 580.1", "memory.total: .Unknown"),
        (f"{UUID}, NVIDIA H200, 143771, [N/A], Default, 580.1", r"compute_cap: \[N/A\]"),
        ("[GPU is lost], NVIDIA H200, 143771, 9.0, Default, 580.1", "uuid: .GPU is lost"),
        ("No devices were found", "No devices were found"),
    ],
)
def test_what_nvidia_smi_cannot_tell_is_named(tmp_path: Path, row: str, lacking: str) -> None:
    program(tmp_path, f"#!/bin/sh\necho '{row}'\n")
    with pytest.raises(LabError, match=lacking) as caught:
        gpu_host.gpus(driver(tmp_path))
    assert "nvidia-smi" in caught.value.remedy


def test_a_tegra_gpu_is_refused_by_name() -> None:
    with pytest.raises(gpu_host.NoDriver, match=r"Tegra.*does not support") as caught:
        gpu_host.find(json.loads(JETSON.read_text()))
    assert "install" not in str(caught.value)


def test_a_tegra_machine_whose_toolkit_finds_no_library_is_not_told_to_install_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = "#!/bin/sh\necho 'level=error msg=\"failed to locate libnvidia-ml\"' >&2\nexit 1\n"
    monkeypatch.setattr(gpu_host, "CTK", program(tmp_path, script, "nvidia-ctk"))
    monkeypatch.setattr(gpu_host, "TEGRA_RELEASE", tmp_path / "nv_tegra_release")
    (tmp_path / "nv_tegra_release").touch()
    with pytest.raises(gpu_host.NoDriver, match="Tegra"):
        gpu_host.cdi_spec()


def test_an_nvidia_smi_that_fails_is_quoted(tmp_path: Path) -> None:
    program(
        tmp_path, "#!/bin/sh\necho 'Failed to initialize NVML: Driver/library mismatch'\nexit 9\n"
    )
    with pytest.raises(LabError, match="failed: Failed to initialize NVML"):
        gpu_host.gpus(driver(tmp_path))


def test_no_nvidia_smi_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"nvidia-smi does not answer: .*No such file"):
        gpu_host.gpus(driver(tmp_path))


def test_a_toolkit_that_is_missing_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu_host, "CTK", tmp_path / "nvidia-ctk")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="run: make setup-host"):
        gpu_host.cdi_spec()


def test_a_machine_without_a_driver_gives_the_toolkits_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = "#!/bin/sh\necho 'level=error msg=\"failed to locate libnvidia-ml\"' >&2\nexit 1\n"
    monkeypatch.setattr(gpu_host, "CTK", program(tmp_path, script, "nvidia-ctk"))
    monkeypatch.setattr(gpu_host, "KERNEL_DRIVER", (tmp_path / "version",))
    with pytest.raises(gpu_host.NoDriver, match=r"no GPU driver: .*libnvidia-ml"):
        gpu_host.cdi_spec()
    (tmp_path / "version").touch()
    with pytest.raises(LabError, match=r"kernel driver is loaded, but .*libnv") as caught:
        gpu_host.cdi_spec()
    assert not isinstance(caught.value, gpu_host.NoDriver)
