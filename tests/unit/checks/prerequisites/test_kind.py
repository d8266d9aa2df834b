"""Module 0 of a workstation: what is found on machines of all kinds, and what fixes it."""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from checks.prerequisites import (
    docker_daemon,
    embedded,
    gpus,
    kind,
    kind_gpu,
    kind_toolkit,
    mocked_driver,
)
from checks.result import CheckSkipped
from machine import cdi, gpu_host, kind_images
from machine.kind_gpus import VOLUME_MOUNTS
from machine.kind_node_needs import STRATEGIES
from tests.unit.fake_kube import findings, statuses
from toolchain import cache
from toolchain import kind as toolchain_kind
from toolchain.tools import KUBERNETES_VERSION

UUID = "GPU-f1056031-d9fd-8c0f-fdc9-95892d0588f9"
IMAGE = "localhost/node:1"
INFO = {
    "ServerVersion": "28.2.2",
    "OperatingSystem": "Ubuntu 24.04",
    "Name": platform.node(),
    "CgroupVersion": "2",
    "SecurityOptions": ["name=seccomp,profile=builtin"],
    "DockerRootDir": "/",
    "DefaultRuntime": "nvidia",
    "Runtimes": {"nvidia": {}, "runc": {}},
}
DOCKER = """\
case "$1 $2" in
"info --format") cat {folder}/info.json ;;
"ps --all") cat {folder}/nodes ;;
"container inspect") shift 4; for name; do echo '{{"Name": "/'$name'"}}'; done ;;
"image inspect") test -e {folder}/image || {{ echo 'Error: No such image' >&2; exit 1; }} ;;
"run --rm") echo "$@" >{folder}/ran; cat {folder}/listed ;;
*) echo "unexpected: $@" >&2; exit 64 ;;
esac
"""


class Machine:
    """A workstation made of files and programs in one folder, on which all is well."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.patch = monkeypatch
        self.bin = folder / "bin"
        self.dev = folder / "dev"
        for made in (self.bin, self.dev, folder / "tools", folder / "pci", folder / "cdi"):
            made.mkdir()
        self._point()
        self.info()
        for name in ("nodes", "listed", "image"):
            (folder / name).touch()
        self.program("docker", DOCKER.format(folder=folder))
        self.program("kind", "echo kind v0.33.0 go1.25.1 linux/amd64", folder / "tools")
        self.inotify(524288, 512)
        (folder / "osrelease").write_text("6.8.0-45-generic\n")

    def _point(self) -> None:
        """Everything that is looked at lies in the folder."""
        folder, patch = self.folder, self.patch
        patch.chdir(folder)
        patch.setenv("PATH", f"{self.bin}:/usr/bin:/bin")
        patch.delenv("DOCKER_HOST", raising=False)
        patch.setattr(embedded, "BIN", folder / "tools")
        patch.setattr(kind_images, "OFFLINE", folder / "no-kind-node.json")
        patch.setattr(toolchain_kind, "missing", lambda _: [])
        patch.setattr(kind, "KERNEL_RELEASE", folder / "osrelease")
        patch.setattr(kind, "INOTIFY_FOLDER", folder)
        patch.setattr(kind_gpu, "PCI", folder / "pci")
        patch.setattr(kind_gpu, "DEVICES", self.dev)
        patch.setattr(kind_gpu, "MODULE", folder / "module")
        patch.setattr(kind_gpu, "SECURE_BOOT", folder / "secure-boot")
        patch.setattr(kind_toolkit, "RUNTIME_CONFIG", folder / "config.toml")
        patch.setattr(gpus, "MPS_FOLDER", folder / "nvidia-mps")
        patch.setattr(gpu_host, "_is_script", lambda _: False)
        patch.setattr(gpu_host, "CTK", folder / "tools" / "nvidia-ctk")
        patch.setattr(gpu_host, "KERNEL_DRIVER", (folder / "module",))
        patch.setattr(cdi, "FOLDERS", (folder / "cdi",))
        patch.setattr("psutil.process_iter", lambda _: [])
        usage = SimpleNamespace(free=100e9)
        patch.setattr("checks.prerequisites.embedded.shutil.disk_usage", lambda _: usage)

    def has_lab(self) -> None:
        """The cluster of the stack is there."""
        facts = self.folder / ".run" / kind.defaults()["stack"] / "cluster.json"
        facts.parent.mkdir(parents=True)
        facts.touch()

    def program(self, name: str, script: str, folder: Path | None = None) -> Path:
        path = (folder or self.bin) / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def offline(self, reference: str) -> None:
        """As make kind-node-image leaves it."""
        built = self.folder / "kind-node.json"
        built.write_text(json.dumps({"reference": reference, "kubernetes": KUBERNETES_VERSION}))
        self.patch.setattr(kind_images, "OFFLINE", built)

    def info(self, **changed: Any) -> None:
        (self.folder / "info.json").write_text(json.dumps(INFO | changed))

    def inotify(self, watches: int, instances: int) -> None:
        (self.folder / "max_user_watches").write_text(f"{watches}\n")
        (self.folder / "max_user_instances").write_text(f"{instances}\n")

    def has_gpu(self, driver: str = "580.95.05", **columns: str) -> None:
        """An RTX 4090 with its driver, and NVIDIA's container toolkit."""
        row = {"memory": "24564", "capability": "8.9", "mode": "Default"} | columns
        self.program(
            "nvidia-smi",
            f"echo '{UUID}, RTX 4090, {row['memory']}, {row['capability']}, {row['mode']}, "
            f"{driver}'",
        )
        for name in gpus.MPS_PROGRAMS:
            self.program(name, "")
        for name in ("nvidia0", "nvidiactl"):
            (self.dev / name).touch()
        (self.folder / "module").touch()
        (self.folder / "config.toml").write_text(f"{VOLUME_MOUNTS} = true\n")
        (self.folder / "listed").write_text(f"GPU 0: RTX 4090 (UUID: {UUID})\n")
        library = self.folder / "lib" / "x86_64-linux-gnu" / f"libnvidia-ml.so.{driver}"
        library.parent.mkdir(parents=True, exist_ok=True)
        library.touch()
        self.spec = {
            "cdiVersion": "0.5.0",
            "kind": "nvidia.com/gpu",
            "devices": [
                {"name": name, "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0"}]}}
                for name in ("0", "all")
            ],
            "containerEdits": {
                "mounts": [
                    {"hostPath": str(host), "containerPath": container}
                    for host, container in (
                        (self.bin / "nvidia-smi", "/usr/bin/nvidia-smi"),
                        (library, f"/usr/lib/x86_64-linux-gnu/{library.name}"),
                    )
                ]
            },
        }
        self.toolkit()

    def toolkit(self, version: str = "1.18.0") -> None:
        spec = self.folder / "generated.json"
        spec.write_text(json.dumps(self.spec))
        self.program(
            "nvidia-ctk",
            f'test "$1" = --version && echo "NVIDIA Container Toolkit CLI version {version}" '
            f"|| cat {spec}",
        )


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.fixture
def gpu_machine(machine: Machine) -> Machine:
    machine.has_gpu()
    return machine


def run(**changed: Any) -> dict[str, Any]:
    given = {"driverChart": "", "driver": "example", "nodeImage": IMAGE, "strategy": "toolkit"}
    return kind.run("0", kind.defaults() | given | changed)


def run_gpu(**changed: Any) -> dict[str, Any]:
    return run(driver="nvidia", **changed)


def finding(result: dict[str, Any], identity: str, status: str = "failed") -> dict[str, Any]:
    found = findings(result)[identity]
    assert found["status"] == status, found
    return found


def failures(result: dict[str, Any]) -> dict[str, str]:
    return {f["id"]: f["found"] for f in result["checks"] if f["status"] == "failed"}


# --- a machine on which all is well ----------------------------------------------------------


def test_a_workstation_without_a_gpu_that_has_everything(machine: Machine) -> None:
    result = run()
    assert result["status"] == "passed"
    assert {f["status"] for f in result["checks"]} == {"passed"}
    assert not {"gpus", "cdi-spec", "toolkit"} & set(findings(result)), "no GPU was asked for"


@pytest.mark.parametrize("strategy", ["toolkit", "cdi"])
def test_a_workstation_with_a_gpu_that_has_everything(gpu_machine: Machine, strategy: str) -> None:
    result = run_gpu(strategy=strategy)
    assert failures(result) == {}
    assert result["status"] == "passed"
    found = findings(result)
    assert UUID in found["gpus"]["found"]
    assert found["gpu-container"]["found"] == UUID
    ran = (gpu_machine.folder / "ran").read_text()
    if strategy == "toolkit":
        assert "source=/dev/null,target=/var/run/nvidia-container-devices/all" in ran
    else:
        assert "target=/usr/bin/nvidia-smi,readonly" in ran
        assert found["runtime-default"]["status"] == "skipped"
    assert "--rm" in ran, "nothing is left behind"


# --- Docker ----------------------------------------------------------------------------------


def test_no_docker_is_one_failure_and_what_needs_it_is_skipped(machine: Machine) -> None:
    (machine.bin / "docker").unlink()
    machine.patch.setenv("PATH", str(machine.bin))
    result = run_gpu()
    docker = finding(result, "docker-program")
    assert docker["found"] == "there is no docker program on PATH"
    assert "https://docs.docker.com/engine/install/" in docker["remedy"]
    said = statuses(result)
    assert said["docker-daemon"] == "needs docker-program"
    assert said["docker-version"] == said["name-free"] == "needs docker-daemon"
    assert set(failures(result)) == {"docker-program", "gpu-present"}


@pytest.mark.parametrize(
    ("said", "found", "remedy"),
    [
        (
            "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
            "does not run",
            "sudo systemctl start docker",
        ),
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///x",
            "this user may not",
            "sudo usermod -aG docker $USER",
        ),
    ],
)
def test_a_daemon_that_does_not_answer(
    machine: Machine, said: str, found: str, remedy: str
) -> None:
    machine.program("docker", f"echo '{said}' >&2; exit 1")
    result = run()
    docker = finding(result, "docker-daemon")
    assert found in docker["found"]
    assert remedy in docker["remedy"]
    assert set(failures(result)) == {"docker-daemon"}


@pytest.mark.parametrize(
    ("version", "example", "nvidia"),
    [
        ("19.03.15", "failed", "failed"),
        ("20.10.24+dfsg1", "warning", "failed"),
        ("23.0.6", "warning", "failed"),
        ("24.0.0", "passed", "passed"),
    ],
)
def test_versions_of_docker(machine: Machine, version: str, example: str, nvidia: str) -> None:
    machine.info(ServerVersion=version)
    assert findings(run())["docker-version"]["status"] == example
    assert findings(run_gpu())["docker-version"]["status"] == nvidia


@pytest.mark.parametrize(
    ("changed", "identity", "example", "nvidia"),
    [
        ({"Name": "build-server"}, "docker-local", "failed", "failed"),
        ({"OperatingSystem": "Docker Desktop"}, "docker-local", "warning", "failed"),
        ({"SecurityOptions": ["name=rootless"]}, "docker-rootless", "warning", "failed"),
        ({"SecurityOptions": None}, "docker-rootless", "passed", "passed"),
        ({"CgroupVersion": "1"}, "cgroups", "warning", "warning"),
        ({"CgroupVersion": ""}, "cgroups", "warning", "warning"),
    ],
)
def test_kinds_of_daemons(
    machine: Machine, changed: dict[str, Any], identity: str, example: str, nvidia: str
) -> None:
    machine.info(**changed)
    assert findings(run())[identity]["status"] == example
    assert findings(run_gpu())[identity]["status"] == nvidia


INFOS = json.loads((Path(__file__).parents[3] / "data" / "docker-infos.json").read_text())


@pytest.mark.parametrize("given", [{}, *({"driver": "nvidia", "strategy": s} for s in STRATEGIES)])
@pytest.mark.parametrize(
    ("name", "identity", "found", "remedy"),
    [
        (
            "ubuntu-snap",
            "docker-snap",
            "from a snap: /var/snap/docker/common/var-lib-docker",
            "sudo snap remove --purge docker",
        ),
        (
            "fedora-runtime-not-installed",
            "docker-runtime",
            "nvidia, whose program dra-workshop-no-such-runtime is not there",
            "nvidia-ctk runtime configure --runtime=docker",
        ),
        ("ubuntu-engine", "", "", ""),
    ],
)
def test_a_docker_that_cannot_work(
    gpu_machine: Machine, given: dict[str, Any], name: str, identity: str, found: str, remedy: str
) -> None:
    """As real daemons tell it, with and without a GPU in the nodes."""
    gpu_machine.info(**INFOS[name] | {"Name": platform.node()})
    result = run(**given)
    if not identity:
        assert failures(result) == {}
        return
    assert result["status"] == "failed"
    told = finding(result, identity)
    assert told["found"] == found
    assert remedy in told["remedy"]
    assert set(failures(result)) - {identity} <= {"runtime-default"}, "one cause, one failure"


@pytest.mark.parametrize(
    ("runtimes", "default", "found"),
    [
        ({"runc": {"path": "runc"}}, "runc", "runc"),
        ({"io.containerd.runc.v2": {"path": "runc"}}, "io.containerd.runc.v2", None),
        ({"runsc": {"runtimeType": "io.containerd.runsc.v1"}}, "runsc", "runsc"),
        ({"nvidia": {"path": "/bin/true"}}, "nvidia", "nvidia (/bin/true)"),
        (None, "nvidia", "nvidia"),
    ],
)
def test_runtimes_that_docker_has_or_finds(
    machine: Machine, runtimes: dict[str, Any] | None, default: str, found: str | None
) -> None:
    """Docker brings its own, which need not be on anybody's PATH."""
    machine.info(Runtimes=runtimes, DefaultRuntime=default)
    assert finding(run(), "docker-runtime", "passed")["found"] == (found or default)


def test_a_runtime_on_another_machine_is_not_looked_for(machine: Machine) -> None:
    runtimes = {"nvidia": {"path": "/usr/bin/no-such-runtime"}}
    machine.info(OperatingSystem="Docker Desktop", Runtimes=runtimes, DefaultRuntime="nvidia")
    assert finding(run(), "docker-runtime", "skipped")


def test_a_daemon_that_remaps_users_gets_a_probe_as_kind_makes_nodes(gpu_machine: Machine) -> None:
    """Docker refuses privileged containers there unless they are in the host's user namespace."""
    gpu_machine.info(SecurityOptions=["name=userns"])
    assert finding(run_gpu(), "gpu-container", "passed")
    assert "--userns=host" in (gpu_machine.folder / "ran").read_text()


@pytest.mark.parametrize(
    "told",
    [
        {"host": {"arch": "amd64"}, "store": {}, "version": {"Version": "5.4.0"}},
        INFO | {"ServerVersion": "5.4.0", "ProductLicense": "Apache-2.0", "IndexServerAddress": ""},
    ],
    ids=["program", "socket"],
)
def test_podman_in_the_place_of_docker(machine: Machine, told: dict[str, Any]) -> None:
    (machine.folder / "info.json").write_text(json.dumps(told))
    result = run()
    assert result["status"] == "failed"
    daemon = finding(result, "docker-daemon")
    assert daemon["found"] == "what answers in the place of Docker is Podman"
    assert "https://docs.docker.com/engine/install/" in daemon["remedy"]
    assert set(failures(result)) == {"docker-daemon"}


def test_little_room_where_docker_keeps_its_images(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=5.5e9)
    monkeypatch.setattr("checks.prerequisites.embedded.shutil.disk_usage", lambda _: usage)
    assert findings(run(workers=1))["disk-docker"]["status"] == "passed"
    disk = finding(run(workers=3), "disk-docker")
    assert (disk["expected"], disk["found"]) == ("7 GB", "5.5 GB free in /")


def test_nodes_that_are_there_need_no_room_to_be_made(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=0.5e9)
    monkeypatch.setattr("checks.prerequisites.embedded.shutil.disk_usage", lambda _: usage)
    finding(run(), "disk-docker")
    machine.has_lab()
    assert findings(run())["disk-docker"]["status"] == "passed"


def test_a_folder_of_docker_that_cannot_be_seen() -> None:
    seen = docker_daemon.Docker(with_gpu=False)
    seen.info = {"DockerRootDir": "/no/such/folder"}
    with pytest.raises(CheckSkipped, match="cannot be looked at"):
        seen.disk(1.0)


# --- the machine -----------------------------------------------------------------------------


def test_few_watches_are_a_warning_with_the_command(machine: Machine) -> None:
    machine.inotify(8192, 128)
    inotify = finding(run(), "inotify", "warning")
    assert inotify["found"] == "max_user_watches 8192, max_user_instances 128"
    assert inotify["remedy"].startswith(
        "run: sudo sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512"
    )


@pytest.mark.parametrize(
    ("release", "status"),
    [("5.14.0-503.el9", "warning"), ("5.15.0-1", "passed"), ("6.18", "passed"), ("", "skipped")],
)
def test_kernels(machine: Machine, release: str, status: str) -> None:
    (machine.folder / "osrelease").write_text(release)
    assert findings(run())["kernel"]["status"] == status


def test_wsl2_is_no_place_for_a_gpu(machine: Machine) -> None:
    (machine.folder / "osrelease").write_text("5.15.167.4-microsoft-standard-WSL2\n")
    finding(run(), "wsl", "passed")
    assert "driver=example" in finding(run_gpu(), "wsl")["remedy"]


# --- the cluster -----------------------------------------------------------------------------


def test_no_kind_says_how_to_get_it(machine: Machine) -> None:
    (machine.folder / "tools" / "kind").unlink()
    assert finding(run(), "kind")["remedy"] == "run: make setup-kind"
    machine.program("kind", "echo kind v0.24.0 go1.22", machine.folder / "tools")
    assert finding(run(), "kind")["found"] == "version 0.24.0"
    machine.program("kind", "exit 3", machine.folder / "tools")
    assert "ended with 3" in finding(run(), "kind")["found"]


def test_an_image_that_is_not_there(machine: Machine) -> None:
    (machine.folder / "image").unlink()
    assert finding(run(), "node-image")["remedy"] == "run: make kind-node-image"
    assert "fetched" in statuses(run(nodeImage="kindest/node:v1.36.4@sha256:0"))["node-image"]
    assert "fetched" in statuses(run(nodeImage=""))["node-image"]


def test_an_image_of_set_up_is_what_nodes_are_made_of_by_default(machine: Machine) -> None:
    (machine.folder / "image").unlink()
    machine.offline("localhost/dra-workshop/kind-node:1")
    found = finding(run(nodeImage=""), "node-image", "passed")["found"]
    assert found.startswith("localhost/dra-workshop/kind-node:1, built by make kind-node-image")


def test_tools_of_set_up_that_are_not_there(machine: Machine) -> None:
    machine.patch.setattr(toolchain_kind, "missing", lambda _: ["images/workload.tar"])
    found = finding(run(), "kind-tools")
    assert found["found"] == "missing: images/workload.tar"
    assert found["remedy"] == "run: make setup-kind"


def test_a_cluster_of_the_name_that_is_not_ours(machine: Machine) -> None:
    nodes = "dra-workshop-dev-control-plane\ndra-workshop-dev-worker\n"
    (machine.folder / "nodes").write_text(nodes)
    name = finding(run(), "name-free")
    assert "dra-workshop-dev-control-plane, dra-workshop-dev-worker" in name["found"]
    assert "kind delete cluster --name dra-workshop-dev" in name["remedy"]
    ours = machine.folder / ".run" / "dev" / "kind.yaml"
    ours.parent.mkdir(parents=True)
    ours.write_text("nodes: [{role: control-plane}]")
    assert "of this stack" in finding(run(), "name-free", "passed")["found"]


# --- strict ----------------------------------------------------------------------------------


def test_when_not_strict_only_what_is_fatal_stops(machine: Machine) -> None:
    machine.info(ServerVersion="19.03.1", Name="elsewhere")
    assert set(failures(run())) == {"docker-version", "docker-local"}
    result = run(strict=False)
    assert result["status"] == "passed"
    assert finding(result, "docker-version", "warning")["remedy"]
    (machine.folder / "nodes").write_text("dev-control-plane\n")
    assert set(failures(run(strict=False))) == {"name-free"}


def test_what_is_fatal_is_there(gpu_machine: Machine) -> None:
    mocked = run_gpu(mocked=True)
    assert set(kind.FATAL) <= set(findings(run_gpu())) | set(findings(mocked))


# --- mocked GPUs -----------------------------------------------------------------------------


def test_what_mocked_gpus_need_is_named_before_anything_is_made(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "folder", lambda: machine.folder / "cache")
    monkeypatch.setattr(mocked_driver, "TOOLS", machine.folder / "tools")
    monkeypatch.setenv("CC", "no-such-compiler")
    lacking = run_gpu(mocked=True, strict=False)
    assert set(failures(lacking)) == {"mocked-driver", "driver-image"}
    assert "apt install gcc" in finding(lacking, "mocked-driver")["found"]
    image = finding(lacking, "driver-image")
    assert image["found"] == "missing: images/dra-driver.tar"
    assert "make setup-host" in image["remedy"]

    monkeypatch.setenv("CC", "sh")
    (machine.folder / "tools" / "images").mkdir()
    (machine.folder / "tools" / "images" / "dra-driver.tar").touch()
    assert failures(run_gpu(mocked=True)) == {}


def test_mocked_gpus_are_not_put_beside_a_gpu(gpu_machine: Machine) -> None:
    (gpu_machine.folder / "module").touch()
    refused = finding(run_gpu(mocked=True, strict=False), "no-gpu-driver")
    assert refused["found"] == f"a GPU driver is loaded: {gpu_machine.folder / 'module'}"
    assert "gpus=real" in refused["remedy"]


# --- the GPU ---------------------------------------------------------------------------------


def test_no_gpu_is_one_failure(machine: Machine) -> None:
    result = run_gpu()
    assert failures(result) == {"gpu-present": "no NVIDIA GPU on the PCI bus"}
    said = statuses(result)
    assert said["kernel-driver"] == said["toolkit"] == "needs gpu-present"
    assert said["gpus"] == "needs gpu-driver"
    assert said["cdi-mounts"] == "needs cdi-spec"
    assert "driver=example" in finding(result, "gpu-present")["remedy"]


def on_the_bus(machine: Machine) -> None:
    for name, vendor, code in (("0000:00:01.0", "0x8086", "0x030000"), ("0000:01:00.0", "0x10de",
                               "0x030200"), ("0000:01:00.1", "0x10de", "0x040300")):  # fmt: skip
        device = machine.folder / "pci" / name
        device.mkdir()
        (device / "vendor").write_text(f"{vendor}\n")
        (device / "class").write_text(f"{code}\n")


def test_a_gpu_without_a_driver(machine: Machine) -> None:
    on_the_bus(machine)
    machine.program("modinfo", "exit 1")
    result = run_gpu()
    present = finding(result, "gpu-present", "passed")
    assert present["found"] == "on the PCI bus: 0000:01:00.0"
    assert "install NVIDIA's driver 565 or later" in finding(result, "kernel-driver")["remedy"]


def test_a_module_that_secure_boot_keeps_out(machine: Machine) -> None:
    on_the_bus(machine)
    machine.program("modinfo", "echo /lib/modules/nvidia.ko")
    assert "modprobe nvidia" in finding(run_gpu(), "kernel-driver")["remedy"]
    (machine.folder / "secure-boot").write_bytes(b"\x06\x00\x00\x00\x01")
    driver = finding(run_gpu(), "kernel-driver")
    assert "Secure Boot is on" in driver["found"]
    assert "mokutil --import" in driver["remedy"]
    (machine.folder / "secure-boot").write_bytes(b"\x06\x00\x00\x00\x00")
    assert "Secure Boot" not in finding(run_gpu(), "kernel-driver")["found"]


def test_a_module_without_device_nodes(gpu_machine: Machine) -> None:
    on_the_bus(gpu_machine)
    (gpu_machine.dev / "nvidia0").unlink()
    driver = finding(run_gpu(), "kernel-driver")
    assert "no device nodes" in driver["found"]
    assert "nvidia-modprobe" in driver["remedy"]


@pytest.mark.parametrize(
    ("columns", "identity", "found"),
    [
        ({"driver": "550.107.02"}, "gpu-driver", "550.107.02"),
        ({"capability": "5.2"}, "compute-capability", "5.2"),
        ({"mode": "Exclusive_Process"}, "compute-mode", "Exclusive_Process"),
    ],
)
def test_gpus_that_will_not_do(
    machine: Machine, columns: dict[str, str], identity: str, found: str
) -> None:
    machine.has_gpu(**columns)
    assert found in finding(run_gpu(), identity)["found"]


def test_a_driver_whose_mps_daemon_crashes_is_a_warning(machine: Machine) -> None:
    machine.has_gpu("580.159.03")
    assert "580.159.04" in finding(run_gpu(), "mps-driver", "warning")["remedy"]


def test_programs_of_mps(gpu_machine: Machine) -> None:
    (gpu_machine.bin / "nvidia-cuda-mps-server").unlink()
    assert "nvidia-cuda-mps-server" in finding(run_gpu(), "mps-programs")["found"]


def test_an_mps_daemon_of_the_host(gpu_machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (gpu_machine.folder / "nvidia-mps").mkdir()
    assert "echo quit" in finding(run_gpu(), "no-mps-daemon")["remedy"]
    (gpu_machine.folder / "nvidia-mps").rmdir()
    daemon = SimpleNamespace(pid=4711, info={"name": "nvidia-cuda-mps"})
    monkeypatch.setattr("psutil.process_iter", lambda _: [daemon])
    assert "process 4711" in finding(run_gpu(), "no-mps-daemon")["found"]
    monkeypatch.setattr(gpus, "in_container", lambda pid: pid == 4711)
    finding(run_gpu(), "no-mps-daemon", "passed")


def test_a_gpu_that_the_lab_itself_has_in_use(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an update that was killed while pods shared the GPU."""
    machine.has_gpu(mode="Exclusive_Process")
    daemon = SimpleNamespace(pid=4711, info={"name": "nvidia-cuda-mps"})
    monkeypatch.setattr(gpus, "in_container", lambda pid: pid == 4711)
    monkeypatch.setattr("psutil.process_iter", lambda _: [daemon])
    finding(run_gpu(), "compute-mode")
    machine.has_lab()
    assert "MPS daemon of the lab" in finding(run_gpu(), "compute-mode", "passed")["found"]
    monkeypatch.setattr("psutil.process_iter", lambda _: [])
    finding(run_gpu(), "compute-mode")


def test_gpus_of_nodes_that_are_not_there(gpu_machine: Machine) -> None:
    finding(run_gpu(gpus=["0"]), "gpu-subset", "passed")
    finding(run_gpu(gpus=["0"]), "gpu-container", "passed")
    result = run_gpu(gpus=["0", "1"])
    assert finding(result, "gpu-subset")["found"] == f"1; there are 0, {UUID}"
    assert "names no GPU '1'" in finding(result, "cdi-mounts")["found"]


# --- toolkit and spec ------------------------------------------------------------------------


def test_docker_whose_default_is_another_runtime(gpu_machine: Machine) -> None:
    gpu_machine.info(DefaultRuntime="runc")
    runtime = finding(run_gpu(), "runtime-default")
    assert runtime["found"] == "runc; nvidia is known to Docker"
    assert "--set-as-default" in runtime["remedy"]
    assert "systemctl restart docker" in runtime["remedy"]
    assert statuses(run_gpu())["gpu-container"] == "needs runtime-default"
    assert failures(run_gpu(strategy="cdi")) == {}


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("accept-nvidia-visible-devices-as-volume-mounts = false", "failed"),
        ('accept-nvidia-visible-devices-as-volume-mounts = "true"', "failed"),
        ("#accept-nvidia-visible-devices-as-volume-mounts = true", "failed"),
        ("accept = [", "failed"),
        (None, "failed"),
    ],
)
def test_a_runtime_that_takes_no_mounts(
    gpu_machine: Machine, text: str | None, status: str
) -> None:
    config = gpu_machine.folder / "config.toml"
    config.unlink() if text is None else config.write_text(text)
    found = finding(run_gpu(), "volume-mounts", status)
    assert f"{VOLUME_MOUNTS}=true --in-place" in found["remedy"]


def test_toolkits(gpu_machine: Machine) -> None:
    gpu_machine.toolkit("1.13.5")
    assert finding(run_gpu(), "toolkit")["found"] == "1.13.5"
    shutil.move(gpu_machine.bin / "nvidia-ctk", gpu_machine.folder / "tools" / "nvidia-ctk")
    assert finding(run_gpu(), "toolkit")["found"] == "nvidia-ctk is not on PATH"
    gpu_machine.toolkit("1.19.1")
    shutil.move(gpu_machine.bin / "nvidia-ctk", gpu_machine.folder / "tools" / "nvidia-ctk")
    assert failures(run_gpu(strategy="cdi")) == {}, "set-up's own is enough to read the spec"


def installed(machine: Machine, driver: str) -> None:
    text = json.dumps(machine.spec).replace("580.95.05", driver)
    (machine.folder / "cdi" / "nvidia.json").write_text(text)


def test_a_spec_that_is_older_than_the_driver(gpu_machine: Machine) -> None:
    assert statuses(run_gpu())["cdi-fresh"].startswith("no file")
    installed(gpu_machine, "580.95.05")
    finding(run_gpu(), "cdi-fresh", "passed")
    installed(gpu_machine, "570.86.15")
    stale = finding(run_gpu(), "cdi-fresh", "warning")
    assert stale["found"].endswith("nvidia.json is for driver 570.86.15")
    assert "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml" in stale["remedy"]


def test_a_spec_that_lacks_a_gpu(gpu_machine: Machine) -> None:
    gpu_machine.spec["devices"] = [{"name": "1"}]
    gpu_machine.toolkit()
    assert f"GPU 0 ({UUID}) is not in the spec" in finding(run_gpu(), "cdi-devices")["found"]


def test_a_spec_whose_files_are_gone(gpu_machine: Machine) -> None:
    edits = gpu_machine.spec["containerEdits"]
    assert isinstance(edits, dict)
    edits["mounts"].append({"hostPath": "/no/such/lib.so.1", "containerPath": "/no/lib.so.1"})
    gpu_machine.toolkit()
    found = finding(run_gpu(strategy="cdi"), "cdi-mounts")
    assert (
        found["found"]
        == "the CDI spec names files that do not exist, or are folders: /no/such/lib.so.1"
    )
    assert statuses(run_gpu(strategy="cdi"))["gpu-container"] == "needs cdi-mounts"


def test_a_driver_where_the_plugin_would_not_look(gpu_machine: Machine) -> None:
    text = json.dumps(gpu_machine.spec).replace('"/usr/lib/x86_64-linux-gnu/', '"/usr/lib/')
    gpu_machine.spec = json.loads(text)
    gpu_machine.toolkit()
    place = finding(run_gpu(), "driver-place")
    assert place["found"] == "/usr/lib"
    assert "strategy cdi" in place["remedy"]
    assert failures(run_gpu(strategy="cdi")) == {}


def test_a_driver_in_a_folder_below_the_usual_one(gpu_machine: Machine) -> None:
    """Debian's, by a toolkit that names both: the plugin looks in the outer one only."""
    text = json.dumps(gpu_machine.spec).replace("-linux-gnu/", "-linux-gnu/nvidia/current/")
    outer, spec = "/usr/lib/x86_64-linux-gnu", json.loads(text)
    spec["containerEdits"]["hooks"] = [
        {
            "hookName": "createContainer",
            "path": "/usr/bin/nvidia-cdi-hook",
            "args": ["nvidia-cdi-hook", "update-ldcache", "--folder", outer],
        }
    ]
    gpu_machine.spec = spec
    library = gpu_machine.folder / "lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05"
    (library.parent / "nvidia/current").mkdir(parents=True)
    library.rename(library.parent / "nvidia/current" / library.name)
    gpu_machine.toolkit()
    assert finding(run_gpu(), "driver-place")["found"] == f"{outer}/nvidia/current"


def test_a_container_that_does_not_get_the_gpu(gpu_machine: Machine) -> None:
    (gpu_machine.folder / "listed").write_text("")
    assert f"none, not {UUID}" in finding(run_gpu(), "gpu-container")["found"]
    (gpu_machine.folder / "image").unlink()
    assert "not on this machine yet" in statuses(run_gpu())["gpu-container"]
    assert "nodeImage is empty" in statuses(run_gpu(nodeImage=""))["gpu-container"]


def test_the_chart_is_looked_for(machine: Machine) -> None:
    assert "driver-chart" not in findings(run())
    assert finding(run(driverChart="no/chart"), "driver-chart")["found"].startswith("no/chart")
