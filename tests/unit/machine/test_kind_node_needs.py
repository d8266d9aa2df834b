"""What a Kind node is given of the host's driver: for every distribution the same, in its place."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from machine import cdi, kind_node_needs
from machine.errors import LabError
from machine.kind_node_needs import NodeNeeds
from machine.kind_node_parts import Device, Link, Mode, Mount
from tests.unit.machine.test_cdi import H200, NAMES, SPECS

LIBRARIES = "/usr/lib/x86_64-linux-gnu"
LINUX = [name for name in NAMES if not name.startswith("wsl2")]
DEBIAN = "debian-535-toolkit-1.14.yaml"
UBUNTU = "ubuntu-575-toolkit-1.17.json"
DEBIAN_NEW = "debian-580-toolkit-1.20.json"
ARCH = "arch-580-toolkit-1.18.yaml"
NIXOS = "nixos-570-toolkit-1.17.json"
FEDORA = "fedora-550-toolkit-1.16.yaml"
ROOT = "driver-root-580-toolkit-1.19.yaml"
WSL = "wsl2-toolkit-1.19.yaml"


def needs_of(name: str, *gpus: str, strategy: str = "cdi") -> NodeNeeds:
    return kind_node_needs.for_node(cdi.load(SPECS / name), gpus, strategy, machine="x86_64")


def spec_of(**edits: Any) -> dict[str, Any]:
    return {"devices": [{"name": "0"}], "containerEdits": edits}


def file_behind(needs: NodeNeeds, path: str) -> str:
    """The file of the host that a program in the node gets when it opens the path."""
    links = {link.path: link.target for link in needs.links}
    mounts = {mount.container: mount.host for mount in needs.mounts}
    while path in links:
        path = os.path.normpath(PurePosixPath(path).parent / links[path])
    return mounts[path]


@pytest.mark.parametrize("name", LINUX)
def test_the_plugin_finds_the_driver_wherever_the_host_has_it(name: str) -> None:
    needs = needs_of(name)
    version = cdi.driver_version(cdi.load(SPECS / name))
    for library in ("libcuda.so.1", "libnvidia-ml.so.1", "libnvidia-ptxjitcompiler.so.1"):
        stem = library.removesuffix("1")
        assert file_behind(needs, f"{LIBRARIES}/{library}").endswith(f"/{stem}{version}")
    for program in ("nvidia-smi", "nvidia-cuda-mps-control", "nvidia-cuda-mps-server"):
        assert file_behind(needs, f"/usr/bin/{program}").endswith(f"/bin/{program}")
    assert needs.folders[0] == LIBRARIES
    assert needs.driver_root == "/"


def test_of_two_folders_one_inside_the_other_both_are_the_drivers() -> None:
    """As Debian's package has them, told by a toolkit from 1.20 on."""
    needs = needs_of(DEBIAN_NEW)
    mounts = {mount.container: mount.host for mount in needs.mounts}
    inner, outer = f"{LIBRARIES}/nvidia/current", LIBRARIES
    for library, folder in (("libnvidia-ml", inner), ("libcuda", inner), ("libnvidia-tls", outer)):
        name = f"{library}.so.580.95.05"
        assert mounts[f"{LIBRARIES}/{name}"] == f"{folder}/{name}"
    assert needs.folders == (LIBRARIES,)
    assert kind_node_needs.unsearched(cdi.load(SPECS / DEBIAN_NEW), "x86_64") == (inner,)


def test_a_link_from_one_of_the_drivers_folders_into_another_leads_to_the_file() -> None:
    """And one that would lead to itself is left out."""
    folder, name = "/usr/lib/x86_64-linux-gnu", "libcuda.so.580.95.05"
    mounts = [
        {"hostPath": f"{folder}/{path}", "containerPath": f"{folder}/{path}"}
        for path in (f"nvidia/{name}", "libnvidia-tls.so.580.95.05")
    ]
    links = [
        f"nvidia/{name}::{folder}/libcuda.so",
        f"{name}::{folder}/nvidia/libcuda.so.1",
        f"nvidia/libcuda.so.1::{folder}/libcuda.so.1",
    ]
    hooks = [
        {
            "path": "/usr/bin/nvidia-cdi-hook",
            "args": ["nvidia-cdi-hook", *arguments],
        }
        for arguments in (
            ["create-symlinks", *(word for link in links for word in ("--link", link))],
            ["update-ldcache", "--folder", folder, "--folder", f"{folder}/nvidia"],
        )
    ]
    needs = kind_node_needs.for_node(spec_of(mounts=mounts, hooks=hooks), machine="x86_64")
    for path in ("libcuda.so", "libcuda.so.1"):
        assert file_behind(needs, f"{folder}/{path}") == f"{folder}/nvidia/{name}"


@pytest.mark.parametrize("name", LINUX)
def test_every_link_into_the_libraries_leads_to_a_file(name: str) -> None:
    needs = needs_of(name)
    links = [link for link in needs.links if link.path.startswith(LIBRARIES)]
    assert links
    for link in links:
        assert file_behind(needs, link.path)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_mounted_twice_or_hides_a_link(name: str) -> None:
    needs = needs_of(name)
    paths = [*(m.container for m in needs.mounts), *(link.path for link in needs.links)]
    assert len(paths) == len(set(paths))


def test_a_driver_in_a_folder_of_its_own() -> None:
    needs = kind_node_needs.for_node(cdi.load(H200), machine="x86_64")
    assert file_behind(needs, "/usr/bin/nvidia-smi") == "/usr/local/nvidia/bin/nvidia-smi"
    found = file_behind(needs, f"{LIBRARIES}/libcuda.so.1")
    assert found == "/usr/local/nvidia/lib64/libcuda.so.580.159.04"


def test_another_machine_has_its_libraries_elsewhere() -> None:
    needs = kind_node_needs.for_node(cdi.load(H200), machine="aarch64")
    assert file_behind(needs, "/usr/lib/aarch64-linux-gnu/libcuda.so.1")


def test_the_nodes_devices_with_their_place_on_the_host() -> None:
    needs = needs_of(ROOT)
    assert Device("/dev/nvidia0", "/run/nvidia/driver/dev/nvidia0") in needs.devices
    assert Mount("/run/nvidia/driver/dev/nvidia0", "/dev/nvidia0", read_only=False) in needs.mounts
    assert not any(mount.container.startswith("/dev/") for mount in needs_of(UBUNTU).mounts), (
        "docker gives a privileged container the host's device nodes"
    )


@pytest.mark.parametrize("strategy", kind_node_needs.STRATEGIES)
@pytest.mark.parametrize("gpu", ["1", "GPU-5f0c6a4e-9f0b-4f0e-8a54-0f1d9a3f2c02"])
def test_a_node_with_one_of_two_gpus_does_not_get_the_other(gpu: str, strategy: str) -> None:
    needs = needs_of(UBUNTU, gpu, strategy=strategy)
    assert "/dev/nvidia1" in {device.path for device in needs.devices}
    assert "/dev/nvidia0" in needs.hidden
    assert "/dev/nvidiactl" not in needs.hidden
    assert needs.mask_params, "else the driver makes the node of the other anew"


@pytest.mark.parametrize("gpus", [(), ("all",), ("0", "1")])
def test_a_node_with_all_gpus_has_nothing_hidden(gpus: tuple[str, ...]) -> None:
    needs = needs_of(DEBIAN, *gpus)
    assert {"/dev/nvidia0", "/dev/nvidia1"} <= {device.path for device in needs.devices}
    assert needs.hidden == ()
    assert not needs.mask_params


def test_a_part_of_a_gpu() -> None:
    needs = needs_of(UBUNTU, "1:0")
    paths = {device.path for device in needs.devices}
    assert {"/dev/nvidia1", "/dev/nvidia-caps/nvidia-cap30"} <= paths
    assert needs.hidden == ("/dev/nvidia0",)


def test_a_gpu_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(LabError, match=r"no GPU '2'; it has 0, 1, all.*strategy=uuid"):
        needs_of(DEBIAN, "0", "2")


def test_a_strategy_that_is_none() -> None:
    with pytest.raises(LabError, match=r"'nvkind' is not one of toolkit, cdi"):
        needs_of(DEBIAN, strategy="nvkind")


@pytest.mark.parametrize(("gpus", "asked"), [((), ["all"]), (("1", "0"), ["1", "0"])])
def test_the_toolkit_is_asked_by_a_mount_of_nothing(
    gpus: tuple[str, ...], asked: list[str]
) -> None:
    needs = needs_of(DEBIAN, *gpus, strategy="toolkit")
    folder = "/var/run/nvidia-container-devices"
    assert needs.mounts == tuple(Mount("/dev/null", f"{folder}/{name}") for name in asked)
    assert (needs.links, needs.folders, needs.notes) == ((), (), ())


@pytest.mark.parametrize(("name", "odd"), [(ARCH, "/usr/lib"), (NIXOS, "/nix/store"), (FEDORA, "")])
def test_where_the_toolkit_alone_will_not_do_it_is_said(name: str, odd: str) -> None:
    notes = needs_of(name, strategy="toolkit").notes
    assert any(odd in note and "choose the strategy cdi" in note for note in notes) is bool(odd)


def test_the_hosts_mps_daemon_stays_on_the_host() -> None:
    needs = needs_of(FEDORA)
    assert not any("mps" in mount.container and "tmp" in mount.host for mount in needs.mounts)
    assert any(note.startswith("/tmp/nvidia-mps is not mounted") for note in needs.notes)


def test_links_of_hooks_follow_the_files_to_their_place() -> None:
    links = needs_of(FEDORA).links
    assert Link("libcuda.so.1", f"{LIBRARIES}/libcuda.so") in links
    assert Link("../libnvidia-allocator.so.1", f"{LIBRARIES}/gbm/nvidia-drm_gbm.so") in links
    assert Link("../card0", "/dev/dri/by-path/pci-0000:01:00.0-card") in links


def test_other_hooks_become_data() -> None:
    needs = needs_of(DEBIAN, "0")
    assert Mode("/dev/dri", "755") in needs.modes
    assert needs.folders == (LIBRARIES, f"{LIBRARIES}/vdpau")
    assert not any("pci-0000:41" in link.path for link in needs.links), "that is the other GPU's"


@pytest.mark.parametrize(
    ("arguments", "note"),
    [
        (["nvidia-cdi-hook", "tune-clocks", "--fast"], "hook tune-clocks is not known here"),
        (["nvidia-ctk", "hook", "tune-clocks"], "hook tune-clocks is not known here"),
        ([], "hook nvidia-cdi-hook is not known here"),
        (["nvidia-cdi-hook", "create-symlinks", "--link", "a:b"], "link 'a:b'"),
        (["nvidia-cdi-hook", "create-symlinks", "--link"], "link ''"),
    ],
)
def test_a_hook_that_is_not_understood_is_a_note(arguments: list[str], note: str) -> None:
    hook = {"hookName": "createContainer", "path": "/usr/bin/nvidia-cdi-hook", "args": arguments}
    needs = kind_node_needs.for_node(spec_of(hooks=[hook]))
    assert needs.links == ()
    assert any(note in said for said in needs.notes)


def test_libraries_of_32_bits_are_left_out() -> None:
    needs = needs_of(ARCH)
    everything = [*(m.host for m in needs.mounts), *(k.path for k in needs.links), *needs.folders]
    assert not any("lib32" in path for path in everything)


def test_programs_of_nixos_need_their_loader() -> None:
    assert needs_of(NIXOS).notes == ()
    spec = cdi.load(SPECS / NIXOS)
    mounts = spec["containerEdits"]["mounts"]
    spec["containerEdits"]["mounts"] = [m for m in mounts if "glibc" not in m["hostPath"]]
    assert any("without their loader" in note for note in kind_node_needs.for_node(spec).notes)


def test_wsl2_keeps_its_places_and_is_noted() -> None:
    needs = needs_of(WSL)
    assert all(mount.host == mount.container for mount in needs.mounts)
    assert any("WSL2" in note for note in needs.notes)
    assert file_behind(needs, "/usr/bin/nvidia-smi").endswith("/nvidia-smi")


def test_files_that_are_missing_are_an_error_before_docker_makes_folders_of_them() -> None:
    needs = needs_of(UBUNTU)
    gone = f"{LIBRARIES}/libcuda.so.575.57.08"
    with pytest.raises(LabError) as caught:
        kind_node_needs.settled(needs, lambda path: path != gone)
    assert (
        caught.value.found == f"the CDI spec names files that do not exist, or are folders: {gone}"
    )
    assert "nvidia-ctk cdi generate" in caught.value.remedy
    with pytest.raises(LabError, match=r"and 8 more"):
        kind_node_needs.settled(needs, lambda _: False)


def test_the_socket_of_a_daemon_that_does_not_run_is_left_out() -> None:
    socket = "/run/nvidia-fabricmanager/socket"
    needs = needs_of(UBUNTU)
    assert socket in {mount.host for mount in needs.mounts}
    settled = kind_node_needs.settled(needs, lambda path: path != socket)
    assert socket not in {mount.host for mount in settled.mounts}
    assert settled.notes == (f"{socket} is left out: it does not exist",)


def test_two_files_for_one_place() -> None:
    mounts = [
        {"hostPath": f"/{folder}/libcuda.so.570.1", "containerPath": f"/{folder}/libcuda.so.570.1"}
        for folder in ("opt/a", "opt/b")
    ]
    needs = kind_node_needs.for_node(spec_of(mounts=mounts), machine="x86_64")
    assert [mount.host for mount in needs.mounts] == ["/opt/a/libcuda.so.570.1"]
    assert "/opt/b/libcuda.so.570.1 is left out" in needs.notes[0]


def test_a_folder_in_the_place_of_a_library_is_what_docker_left(tmp_path: Path) -> None:
    library = tmp_path / "libcuda.so.575.57.08"
    library.mkdir()
    mount = {"hostPath": str(library), "containerPath": str(library)}
    needs = kind_node_needs.for_node(spec_of(mounts=[mount]))
    with pytest.raises(LabError, match=r"or are folders: .*libcuda"):
        kind_node_needs.settled(needs)
    library.rmdir()
    library.touch()
    assert kind_node_needs.settled(needs) == needs
