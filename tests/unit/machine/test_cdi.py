"""CDI specs: which can be used, and what is said of the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from machine import cdi
from machine.errors import LabError

SPECS = Path(__file__).parents[2] / "data" / "cdi-specs"
"""Written here in the shape that nvidia-ctk gives them, by driver and version of the toolkit."""
H200 = Path(__file__).parents[2] / "data" / "cdi-h200.json"
NAMES = sorted(path.name for path in SPECS.iterdir())


def usable(**changed: Any) -> dict[str, Any]:
    edits = {"deviceNodes": [{"path": "/dev/nvidia0"}]}
    spec = {
        "cdiVersion": "0.5.0",
        "kind": "nvidia.com/gpu",
        "devices": [{"name": "0", "containerEdits": edits}],
    }
    return spec | changed


@pytest.mark.parametrize("path", [*(SPECS / name for name in NAMES), H200], ids=lambda p: p.name)
def test_specs_of_all_generations_can_be_used(path: Path) -> None:
    cdi.validate(cdi.load(path), str(path))


@pytest.mark.parametrize(
    ("name", "version", "devices"),
    [
        ("debian-535-toolkit-1.14.yaml", "535.104.05", {"0", "1"}),
        ("nixos-570-toolkit-1.17.json", "570.153.02", {"0"}),
        ("wsl2-toolkit-1.19.yaml", "", set()),
    ],
)
def test_driver_and_devices_of_a_spec(name: str, version: str, devices: set[str]) -> None:
    spec = cdi.load(SPECS / name)
    assert cdi.driver_version(spec) == version
    assert set(cdi.device_names(spec)) == devices


@pytest.mark.parametrize("version", cdi.VERSIONS)
def test_known_versions(version: str) -> None:
    cdi.validate(usable(cdiVersion=version))


@pytest.mark.parametrize("version", ["1.2.0", "2.0.0", "0.2.0", 1.0, "v0.5.0"])
def test_a_version_that_is_not_known_is_refused_by_name(version: Any) -> None:
    with pytest.raises(LabError) as caught:
        cdi.validate(usable(cdiVersion=version), "CDI spec /etc/cdi/nvidia.yaml")
    said = str(caught.value)
    assert said.startswith(f"CDI spec /etc/cdi/nvidia.yaml: cdiVersion {version!r} is not known")
    assert "0.3.0 to 1.1.0" in said
    assert "nvidia-ctk cdi generate" in caught.value.remedy


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ([], "holds no mapping"),
        (None, "holds no mapping"),
        ({}, "has no cdiVersion"),
        (usable(kind="amd.com/gpu"), "kind is 'amd.com/gpu', not nvidia.com/gpu"),
        (usable(devices=[]), "lists no device"),
        (usable(devices={"0": {}}), "lists no device"),
        (usable(devices=[{"containerEdits": {}}]), "devices[0] has no name"),
        (usable(devices=["0"]), "devices[0] has no name"),
        (usable(containerEdits=[]), "containerEdits is no mapping"),
        (usable(containerEdits={"mounts": {}}), "containerEdits.mounts is no list"),
        (
            usable(containerEdits={"mounts": [{"hostPath": "/a"}]}),
            "containerEdits.mounts[0].containerPath is None, not an absolute path",
        ),
        (
            usable(containerEdits={"deviceNodes": [{"path": "dev/nvidia0"}]}),
            "deviceNodes[0].path is 'dev/nvidia0', not an absolute path",
        ),
        (usable(containerEdits={"hooks": ["ldconfig"]}), "hooks[0].path is None"),
        (
            usable(devices=[{"name": "0", "containerEdits": {"mounts": 1}}]),
            "device 0: containerEdits.mounts is no list",
        ),
    ],
)
def test_what_is_no_spec_says_so_with_its_remedy(spec: Any, said: str) -> None:
    with pytest.raises(LabError) as caught:
        cdi.validate(spec, "CDI spec nvidia.yaml")
    assert caught.value.found.startswith("CDI spec nvidia.yaml")
    assert said in caught.value.found
    assert "nvidia-ctk cdi generate" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("nvidia.json", "{", "neither JSON nor YAML"),
        ("nvidia.yaml", "a: [", "neither JSON nor YAML"),
        ("nvidia.yaml", "", "holds no mapping"),
        ("nvidia.yaml", "- 1\n", "holds no mapping"),
    ],
)
def test_a_file_that_holds_no_spec(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(LabError, match=said) as caught:
        cdi.load(path)
    assert str(path) in caught.value.found
    assert "nvidia-ctk cdi generate" in caught.value.remedy


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "nvidia.yaml"
    with pytest.raises(LabError, match="does not exist"):
        cdi.load(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LabError, match="cannot be read"):
        cdi.load(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(LabError, match=r"cannot be read: .*directory"):
        cdi.load(path)

    def refuse(_: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(LabError, match=f"sudo chmod a\\+r {path}"):
        cdi.load(path)


def test_the_spec_of_the_later_folder_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "etc", tmp_path / "run"
    monkeypatch.setattr(cdi, "FOLDERS", (first, second))
    assert cdi.installed() is None
    for folder in (first, second):
        folder.mkdir()
        (folder / "nvidia.json").write_text(json.dumps(usable()))
    found = cdi.installed()
    assert found is not None
    assert found[0] == second / "nvidia.json"


def test_other_vendors_files_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cdi, "FOLDERS", (tmp_path,))
    (tmp_path / "amd.json").write_text(json.dumps({"cdiVersion": "9.0.0", "kind": "amd.com/gpu"}))
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "notes.txt").write_text("nothing")
    assert cdi.installed() is None
    (tmp_path / "nvidia.yaml").write_text("a: [")
    with pytest.raises(LabError, match=r"nvidia.yaml is neither"):
        cdi.installed()
