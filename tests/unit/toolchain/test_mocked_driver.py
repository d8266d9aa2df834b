"""The mocked driver: its parts are compiled once, and asked as NVIDIA's driver and the lab ask."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.simulated_gpus import GPU_PROFILES, GpuProfile, gpu_uuid
from machine import gpu_host
from tests.unit.scripts import wait_until
from toolchain import cache
from toolchain.errors import SetupError
from toolchain.mocked_driver import build, root
from toolchain.mocked_driver.build import DRIVER_VERSION
from toolchain.mocked_driver.root import LIST, MockedGpu

ASK_NVML = Path(__file__).with_name("ask_nvml.py")
PRIVILEGED = os.geteuid() == 0
ARCHITECTURES = {"Turing": 6, "Ampere": 7, "Ada Lovelace": 8, "Hopper": 9, "Blackwell": 10}
BRANDS = {"GeForce": 5, "Nvidia": 14}
ADDRESSING_MODES = {"None": 0, "ATS": 2}
NOT_SUPPORTED = {"code": 3}

pytestmark = pytest.mark.skipif(
    not shutil.which((os.environ.get("CC") or "cc").split()[0]), reason="no C compiler"
)


def mocked(index: int, profile: GpuProfile) -> MockedGpu:
    return MockedGpu(
        gpu_uuid("node", index),
        profile.product,
        profile.brand,
        profile.architecture,
        profile.compute_capability,
        profile.memory_mib,
        f"0000:{index + 10:02x}:00.0",
        profile.addressing_mode,
        numa_node=index % 2,
    )


SHARED_MEMORY = MockedGpu(
    *(gpu_uuid("node", 15), "NVIDIA GB10", "Nvidia", "Blackwell", "12.1", None, "000f:01:00.0"),
    addressing_mode="ATS",
)
"""A GPU that uses the memory of its machine, on a bus in a domain of its own."""
ALL_KINDS = [
    *(mocked(index, profile) for index, profile in enumerate(GPU_PROFILES.values())),
    SHARED_MEMORY,
]


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mocked-driver")
    build.compile_into(folder, "-Werror")
    return folder


@pytest.fixture
def make_root(parts: Path, tmp_path: Path) -> Callable[[list[MockedGpu]], Path]:
    def make(gpus: list[MockedGpu]) -> Path:
        assert root.lay_out(tmp_path / "root", parts, gpus) == PRIVILEGED
        return tmp_path / "root"

    return make


@pytest.fixture
def two(make_root: Callable[[list[MockedGpu]], Path]) -> Path:
    return make_root(ALL_KINDS[:2])


def nvml_answers(folder: Path) -> dict[str, Any]:
    library = folder / "usr" / "lib64" / "libnvidia-ml.so.1"
    done = subprocess.run(
        [sys.executable, str(ASK_NVML), str(library)], capture_output=True, text=True, check=True
    )
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


def run(
    folder: Path, program: str, *arguments: str, **options: Any
) -> subprocess.CompletedProcess[str]:
    command = [str(folder / "usr" / "bin" / program), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=20, **options
    )


def smi(folder: Path, *arguments: str) -> str:
    done = run(folder, "nvidia-smi", *arguments)
    assert done.returncode == 0, done.stdout
    return done.stdout


def compute_modes(folder: Path) -> list[str]:
    return smi(folder, "--query-gpu=compute_mode", "--format=csv,noheader").splitlines()


# NVML


def test_nvml_tells_each_kind_of_gpu_as_it_is_listed(
    make_root: Callable[[list[MockedGpu]], Path],
) -> None:
    answers = nvml_answers(make_root(ALL_KINDS))
    assert answers["init"] == answers["init_with_flags"] == answers["shutdown"] == 0
    assert (answers["driver"], answers["nvml"]) == (DRIVER_VERSION, f"13.{DRIVER_VERSION}")
    assert answers["cuda"] == 13000
    assert answers["errors"] == [
        *("Success", "Not Supported", "Driver Not Loaded", "Timeout", "Unknown Error")
    ]
    assert answers["count"] == len(ALL_KINDS)
    for index, (found, gpu) in enumerate(zip(answers["gpus"], ALL_KINDS, strict=True)):
        size = None if gpu.memory_mib is None else gpu.memory_mib * 1024 * 1024
        domain, bus, _ = gpu.pci_bus_id.split(":")
        assert found == {
            "uuid": gpu.uuid,
            "product": gpu.product,
            "index": index,
            "minor": index,
            "memory": NOT_SUPPORTED if size is None else [size, size],
            "architecture": ARCHITECTURES[gpu.architecture],
            "brand": BRANDS[gpu.brand],
            "compute_capability": gpu.compute_capability,
            "addressing": ADDRESSING_MODES[gpu.addressing_mode],
            "pci": [
                f"0000{gpu.pci_bus_id}".upper(),
                gpu.pci_bus_id.upper(),
                *(int(domain, 16), int(bus, 16), 0),
            ],
            "compute_mode": 0,
            "mig_mode": 3,
            "is_mig": 0,
            "most_migs": 0,
            "mig_profile": 3,
            **dict.fromkeys(("clock", "clock_max", "power", "throttle"), NOT_SUPPORTED),
            "same_by_uuid": True,
        }


def test_as_many_gpus_as_a_node_can_have(make_root: Callable[[list[MockedGpu]], Path]) -> None:
    profile = GPU_PROFILES["h200"]
    folder = make_root([mocked(index, profile) for index in range(root.MOST_GPUS)])
    assert [gpu["minor"] for gpu in nvml_answers(folder)["gpus"]] == list(range(16))


def test_nvml_refuses_bad_handles_and_short_buffers(two: Path) -> None:
    assert nvml_answers(two)["bad"] == {
        "no_such_index": {"code": 2},
        "no_such_uuid": {"code": 6},
        "no_handle": {"code": 2},
        "half_a_handle": {"code": 2},
        "no_buffer": 2,
        "nowhere": 2,
        "one_too_short": {"code": 7},
        "just_enough": ALL_KINDS[0].uuid,
        "version_too_short": {"code": 7},
    }


def test_without_a_list_no_driver_is_loaded(two: Path) -> None:
    (two / "usr" / "lib64" / LIST).unlink()
    answers = nvml_answers(two)
    assert (answers["init"], answers["count"]) == (9, 0)
    done = run(two, "nvidia-smi", "-L")
    assert (done.returncode, "no list of mocked GPUs" in done.stdout) == (9, True)


def test_a_health_event_is_told_once(two: Path) -> None:
    root.report_xid(two, 1, 79)
    root.report_xid(two, 5, 79)  # there is no such GPU
    root.report_xid(two, 0, 31)
    *events, end = nvml_answers(two)["events"]
    assert events == [[1, 79, 8, 0xFFFFFFFF], [0, 31, 8, 0xFFFFFFFF]]
    assert end["code"] == 10
    assert set(end["codes"]) == {0}
    assert end["waited"] >= 0.25
    (only,) = nvml_answers(two)["events"]
    assert only["code"] == 10
    assert not [path.name for path in (two / "mocked").iterdir() if "events" in path.name]


def test_a_pod_sees_the_gpus_whose_device_nodes_it_has(two: Path, tmp_path: Path) -> None:
    """What NVIDIA's CDI specification puts into a pod: files of the root, and nodes."""
    pod = tmp_path / "pod"
    shutil.copytree(two / "usr", pod / "usr", symlinks=True)
    (pod / "dev").mkdir()
    for name in ("nvidiactl", "nvidia-uvm", "nvidia1"):
        (pod / "dev" / name).touch()
    (gpu,) = nvml_answers(pod)["gpus"]
    assert (gpu["uuid"], gpu["index"], gpu["minor"]) == (ALL_KINDS[1].uuid, 0, 1)
    assert smi(pod, "-L") == f"GPU 0: {ALL_KINDS[1].product} (UUID: {ALL_KINDS[1].uuid})\n"
    assert compute_modes(pod) == ["Default"]
    assert run(pod, "nvidia-smi", "-c", "PROHIBITED").returncode == 4


def ask_as_a_pod_does(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: a library that is loaded once is found by its name from then on."""
    environment = os.environ | {"LD_LIBRARY_PATH": str(folder / "usr" / "lib64")}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_programs_of_pods_find_what_is_told_and_nothing_measured(two: Path) -> None:
    code = f"""
import json, time
from workloads import nvml
gpu = nvml.Gpu("{ALL_KINDS[1].uuid}")
with nvml.Sampler(gpu, 0.001) as sampler:
    while not sampler.summary()["samples"]:
        time.sleep(0.01)
print(json.dumps(gpu.describe() | {{"minor": gpu.minor()}} | sampler.summary()))
"""
    done = ask_as_a_pod_does(two, code)
    found = json.loads(done.stdout)
    assert (found["name"], found["compute_mode"]) == (ALL_KINDS[1].product, "Default")
    assert found["minor"] == 1
    assert (found["clock_mhz"], found["power_w"], found["throttle_reasons"]) == (None,) * 3


def test_cuda_says_that_there_is_no_gpu(two: Path) -> None:
    code = "from workloads import cuda_driver as c; c.device_count(c.Driver())"
    done = ask_as_a_pod_does(two, code)
    assert done.returncode == 1
    assert re.search("CUDA_ERROR_NO_DEVICE.*mocked", done.stderr)


# nvidia-smi


def test_this_machines_gpus_are_found_by_nvidia_smi(
    make_root: Callable[[list[MockedGpu]], Path],
) -> None:
    folder = make_root([ALL_KINDS[0], SHARED_MEMORY])
    driver = gpu_host.Driver(folder / "usr" / "bin", folder / "usr" / "lib64", DRIVER_VERSION)
    assert gpu_host.gpus(driver) == [
        gpu_host.Gpu(
            *(gpu.uuid, gpu.product, gpu.memory_mib, gpu.compute_capability, "Default"),
            DRIVER_VERSION,
        )
        for gpu in (ALL_KINDS[0], SHARED_MEMORY)
    ]


def test_nvidia_smi_answers_queries(make_root: Callable[[list[MockedGpu]], Path]) -> None:
    folder = make_root([ALL_KINDS[0], SHARED_MEMORY])
    assert smi(folder, "--query-gpu=index,memory.total, pci.bus_id,power.draw", "--format=csv") == (
        "index, memory.total [MiB], pci.bus_id, power.draw\n"
        "0, 24564 MiB, 00000000:0A:00.0, [N/A]\n"
        "1, [N/A], 0000000F:01:00.0, [N/A]\n"
    )
    assert smi(folder, "-L").splitlines() == [
        f"GPU {index}: {gpu.product} (UUID: {gpu.uuid})"
        for index, gpu in enumerate((ALL_KINDS[0], SHARED_MEMORY))
    ]
    for name in ("1", SHARED_MEMORY.uuid, "0000000f:01:00.0", "000f:01:00.0"):
        assert smi(folder, "-i", name, "-L").startswith("GPU 1: NVIDIA GB10")
    assert "mocked GPUs, there is no silicon" in smi(folder)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--query-gpu=colour", "--format=csv"], 2, 'Field "colour" is not a valid field'),
        (["--query-gpu=memory.0"], 2, "is not a valid field"),
        (["--gpu-reset"], 2, '"--gpu-reset" is not known'),
        (["-c", "SOMETIMES"], 2, '"SOMETIMES" is not known'),
        (["-c", "EXCLUSIVE_THREAD"], 2, "is not known"),
        (["-i", "7", "-L"], 6, "No devices were found: 7"),
        (["-i"], 2, '"-i" is not known'),
    ],
)
def test_nvidia_smi_refuses(two: Path, arguments: list[str], code: int, said: str) -> None:
    done = run(two, "nvidia-smi", *arguments)
    assert done.returncode == code
    assert said in done.stdout


def test_a_compute_mode_that_was_set_can_be_read_back(two: Path) -> None:
    first, second = ALL_KINDS[0].uuid, ALL_KINDS[1].uuid
    smi(two, "-i", second, "-c", "EXCLUSIVE_PROCESS")
    assert compute_modes(two) == ["Default", "Exclusive_Process"]
    assert [gpu["compute_mode"] for gpu in nvml_answers(two)["gpus"]] == [0, 3]
    smi(two, "-c", "0")
    assert compute_modes(two) == ["Default", "Default"]
    smi(two, "compute-policy", "-i", first, "--set-timeslice", "2")
    slices = [line.rpartition("time slice ")[2] for line in smi(two).splitlines()[1:]]
    assert slices == ["Medium", "Default"]
    log = (two / "mocked" / root.SMI_LOG).read_text().splitlines()
    assert f"-i {second} -c EXCLUSIVE_PROCESS" in log
    assert f"compute-policy -i {first} --set-timeslice 2" in log


def test_nvidia_smi_runs_as_the_plugins_start_script_has_it(two: Path) -> None:
    library = two / "usr" / "lib64" / "libnvidia-ml.so.1"
    done = run(two, "nvidia-smi", "--version", env={"LD_PRELOAD": str(library)})
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        f"NVIDIA-SMI version  : {DRIVER_VERSION} (mocked)",
        f"DRIVER version      : {DRIVER_VERSION}",
        "CUDA Version        : 13.0",
    ]


@pytest.mark.skipif(not PRIVILEGED, reason="only root may chroot")
def test_nvidia_smi_runs_in_its_root_alone(two: Path) -> None:
    done = subprocess.run(
        ["chroot", str(two), "nvidia-smi", "-L"], capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == 2


# MPS


@pytest.fixture
def mps(two: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """The control program with its folders as the daemon's pod has them."""
    for name in ("pipe", "log"):
        (tmp_path / name).mkdir()
    env = {
        "CUDA_MPS_PIPE_DIRECTORY": str(tmp_path / "pipe"),
        "CUDA_MPS_LOG_DIRECTORY": str(tmp_path / "log"),
    }

    def control(*arguments: str, tell: str = "") -> subprocess.CompletedProcess[str]:
        return run(two, "nvidia-cuda-mps-control", *arguments, input=tell, env=env)

    yield control
    control(tell="quit\n")


@pytest.mark.parametrize("options", [["-d"], ["-d", "-M"]])
def test_limits_of_mps_can_be_read_back(
    mps: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, options: list[str]
) -> None:
    uuid = ALL_KINDS[1].uuid
    assert mps(*options).returncode == 0
    assert mps(tell="get_default_active_thread_percentage\n").stdout == "100.0\n"
    assert mps(tell="set_default_active_thread_percentage 50").returncode == 0
    assert mps(tell=f"set_default_device_pinned_mem_limit {uuid} 4096M\n").returncode == 0
    answers = mps(
        tell="get_default_active_thread_percentage\n"
        "get_default_device_pinned_mem_limit 0\n"
        "get_default_device_pinned_mem_limit 1\n"
        f"get_default_device_pinned_mem_limit {uuid}\n"
    )
    assert answers.stdout.split() == ["50.0", "none", "4096M", "4096M"]
    for command in ("get_server_list", "ps"):
        empty = mps(tell=f"{command}\n")
        assert (empty.returncode, empty.stdout) == (0, "")
    log = (tmp_path / "log" / "control.log").read_text()
    assert "Starting control daemon using socket" in log
    assert f"set_default_device_pinned_mem_limit {uuid} 4096M" in log


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("set_default_active_thread_percentage 101", "101 is not a percentage"),
        ("set_default_active_thread_percentage 0", "0 is not a percentage"),
        ("set_default_device_pinned_mem_limit GPU-none 1G", "no GPU GPU-none"),
        ("set_default_device_pinned_mem_limit 0 much", "much is not a size"),
        ("get_default_device_pinned_mem_limit 2", "no GPU 2"),
        ("get_client_list 1", "Server 1 not found"),
        ("get_server_status 1", "Server 1 not found"),
        ("set_default_active_thread_percentage", "has no command"),
        ("dance", "has no command dance"),
    ],
)
def test_mps_refuses(
    mps: Callable[..., subprocess.CompletedProcess[str]], command: str, said: str
) -> None:
    mps("-d")
    done = mps(tell=f"{command}\n")
    assert done.returncode == 1
    assert said in done.stdout


def test_one_daemon_of_mps_has_a_pipe_directory(
    mps: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    nobody = mps(tell="get_server_list\n")
    assert (nobody.returncode, nobody.stderr.strip()) == (
        1,
        "Cannot find MPS control daemon process",
    )
    assert mps("-d").returncode == 0
    second = mps("-d")
    assert (second.returncode, second.stderr.strip()) == (
        1,
        "An instance of this daemon is already running",
    )
    pid = tmp_path / "pipe" / "nvidia-cuda-mps-control.pid"
    wait_until(pid.exists)
    name = Path("/proc") / pid.read_text().strip() / "comm"
    assert name.read_text().startswith("nvidia-cuda-mps")
    assert mps(tell="quit\n").returncode == 0
    wait_until(lambda: not any((tmp_path / "pipe").iterdir()))
    assert mps(tell="get_server_list\n").returncode == 1


def test_a_daemon_of_mps_replaces_one_that_was_killed(
    mps: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    mps("-d")
    mps(tell="set_default_active_thread_percentage 20\n")
    pid = tmp_path / "pipe" / "nvidia-cuda-mps-control.pid"
    wait_until(pid.exists)
    os.kill(int(pid.read_text()), 9)
    wait_until(lambda: mps(tell="ps\n").returncode == 1)
    assert mps("-d").returncode == 0
    assert mps(tell="get_default_active_thread_percentage\n").stdout == "100.0\n"


def test_no_program_is_served(two: Path) -> None:
    assert run(two, "nvidia-cuda-mps-server").returncode == 1


# The root


def test_a_root_lies_as_nvidias_driver_looks_for_it(two: Path) -> None:
    found = {str(path.relative_to(two)) for path in two.rglob("*") if not path.is_dir()}
    nodes = {f"dev/{name}" for name in ("nvidia0", "nvidia1", *root.CONTROL_NODES)}
    assert found - nodes == {
        *(
            f"usr/lib64/{name}.so.{end}"
            for name in build.LIBRARIES
            for end in ("1", DRIVER_VERSION)
        ),
        f"usr/lib64/{LIST}",
        *(f"usr/bin/{name}" for name in build.PROGRAMS),
        *(f"sys/devices/pci0000:0{bus}/0000:0{bus}:00.0/numa_node" for bus in "ab"),
    }
    for index, bus in enumerate("ab"):
        device = two / "sys/bus/pci/devices" / f"0000:0{bus}:00.0"
        assert device.resolve().parent.name == f"pci0000:0{bus}"
        assert (device / "numa_node").read_text() == f"{index}\n"
    assert (two / "dev").exists() == PRIVILEGED


@pytest.mark.skipif(not PRIVILEGED, reason="only root makes device nodes")
def test_no_device_stands_behind_a_node(two: Path) -> None:
    for path in (two / "dev").iterdir():
        assert stat.S_ISCHR(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        with pytest.raises(OSError, match="No such device or address"):
            path.open()


def test_without_the_right_to_make_nodes_there_are_none(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "mknod", refuse)
    assert not root.lay_out(tmp_path / "root", parts, ALL_KINDS[:2])
    assert not (tmp_path / "root" / "dev").exists()
    assert nvml_answers(tmp_path / "root")["count"] == 2


def test_a_root_is_laid_out_anew(two: Path, parts: Path) -> None:
    smi(two, "-c", "PROHIBITED")
    root.lay_out(two, parts, ALL_KINDS[2:5])
    assert compute_modes(two) == ["Default"] * 3
    root.remove(two)
    root.remove(two)
    assert not two.exists()


def test_no_other_folder_is_taken_for_a_root(parts: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").touch()
    with pytest.raises(SetupError, match="is no root of a mocked driver"):
        root.lay_out(tmp_path / "mine", parts, ALL_KINDS)
    assert (tmp_path / "mine" / "letter").exists()


@pytest.mark.parametrize(
    ("gpus", "said"),
    [
        ([], "0 mocked GPUs"),
        (ALL_KINDS[:1] * 17, "17 mocked GPUs"),
        ([MockedGpu("GPU-1", "P", "B", "A", "9.0", 1, "0000:01:00.0")], "uuid"),
        ([MockedGpu(ALL_KINDS[0].uuid, "A, B", "B", "A", "9.0", 1, "0000:01:00.0")], "has a comma"),
        ([MockedGpu(ALL_KINDS[0].uuid, "P", "B", "A", "9.0", 1, "01:00")], "pci"),
    ],
)
def test_gpus_that_cannot_be(parts: Path, tmp_path: Path, gpus: list[MockedGpu], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        root.lay_out(tmp_path / "root", parts, gpus)
    assert not (tmp_path / "root").exists()


# The builder


def test_parts_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = build.built()
    assert folder.parent == cache.folder()
    assert {"nvidia-smi", f"libnvidia-ml.so.{DRIVER_VERSION}"} <= {p.name for p in folder.iterdir()}
    monkeypatch.setenv("CC", "missing")
    assert build.built() == folder


@pytest.mark.parametrize(
    ("compiler", "said"),
    [("missing-cc", "need a C compiler .missing-cc.*apt install gcc"), ("false", "false cannot")],
)
def test_what_is_needed_to_compile_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: str, said: str
) -> None:
    monkeypatch.setenv("CC", compiler)
    with pytest.raises(SetupError, match=said):
        build.compile_into(tmp_path)
