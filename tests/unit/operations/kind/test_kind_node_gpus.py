"""What is done inside a Kind node for its GPUs: the script runs for real, in a folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from components.simulated_gpus import GPU_PROFILES, mocked
from machine import docker, kind_node_needs
from machine.errors import LabError
from machine.kind_places import MOCKED_DRIVER
from operations.kind import kind_node
from toolchain.errors import SetupError
from toolchain.mocked_driver import build, root

UUID = "GPU-f1056031-d9fd-8c0f-fdc9-95892d0588f9"
PARAMS = "ResmanDebugLevel: 4294967295\nModifyDeviceFiles: 1\nDeviceFileMode: 438\n"
NOTHING: dict[str, Any] = {
    "links": [], "modes": [], "mask_params": False, "hidden": [], "folders": [], "gpus": [UUID],
}  # fmt: skip


class Node:
    """A folder in the place of a node's root, with programs that note how they were called."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.params, self.masked = root / "params", root / "masked"
        self.params.write_text(PARAMS)
        (root / "mounts").touch()
        (root / "bin").mkdir()
        # A bind mount makes one file of two, as a link does.
        mount = f'ln -sf "$2" "$3"; echo "none $3" >> {root}/mounts'
        for name, script in (("ldconfig", f"echo ran >> {root}/ldconfig"), ("mount", mount)):
            (root / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
            (root / "bin" / name).chmod(0o755)
        for name, path in (
            ("PARAMS", self.params),
            ("MASKED", self.masked),
            ("MOUNTS", root / "mounts"),
            ("LD_FOLDERS", root / "ld.conf"),
        ):
            monkeypatch.setattr(kind_node, name, str(path))

    def run(self, **needs: Any) -> None:
        done = subprocess.run(
            ["sh", "-eu"],
            input=kind_node.script(NOTHING | needs),
            env={"PATH": f"{self.root / 'bin'}:/usr/bin:/bin"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path, monkeypatch)


def test_links_are_made_with_their_folders(node: Node) -> None:
    (node.root / "libcuda.so.580.1").write_text("library")
    path = node.root / "a folder" / "libcuda.so"
    node.run(links=[{"path": str(path), "target": "../libcuda.so.580.1"}])
    assert path.readlink() == Path("../libcuda.so.580.1")
    assert path.read_text() == "library"


def test_what_is_there_is_no_link_of_ours(node: Node) -> None:
    path = node.root / "libcuda.so.1"
    path.write_text("of the image")
    node.run(links=[{"path": str(path), "target": "elsewhere"}])
    assert not path.is_symlink()


def test_a_link_whose_target_is_missing_can_be_made_again(node: Node) -> None:
    path = node.root / "libnvidia-allocator.so.1"
    for _ in range(2):
        node.run(links=[{"path": str(path), "target": "not-mounted"}])
    assert path.readlink() == Path("not-mounted")


def test_the_loader_learns_the_folders(node: Node) -> None:
    node.run(folders=["/usr/lib/x86_64-linux-gnu", "/opt/my libraries"])
    assert (node.root / "ld.conf").read_text() == "/usr/lib/x86_64-linux-gnu\n/opt/my libraries\n"
    assert (node.root / "ldconfig").read_text() == "ran\n"


def test_without_folders_the_loader_is_left_alone(node: Node) -> None:
    node.run()
    assert not (node.root / "ld.conf").exists()
    assert not (node.root / "ldconfig").exists()


def test_gpus_of_others_are_hidden_and_stay_so(node: Node) -> None:
    """The driver's libraries would make the device nodes anew, but for the covered file."""
    other = node.root / "nvidia1"
    other.touch()
    for _ in range(2):
        node.run(hidden=[str(other), str(node.root / "never-there")], mask_params=True)
        assert not other.exists()
        assert node.params.read_text() == PARAMS.replace("Files: 1", "Files: 0")
    assert (node.root / "mounts").read_text().count("params") == 1, "mounted once"


def test_modes_are_set(node: Node) -> None:
    folder = node.root / "dri"
    folder.mkdir(mode=0o700)
    node.run(modes=[{"path": str(folder), "mode": "755"}])
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_real_machines_needs_are_a_script_that_the_shell_takes() -> None:
    spec = json.loads(Path("tests/data/cdi-h200.json").read_text())
    for strategy in kind_node_needs.STRATEGIES:
        needs = asdict(kind_node_needs.for_node(spec, (), strategy))
        script = kind_node.script(json.loads(json.dumps(needs)))
        checked = subprocess.run(["sh", "-n"], input=script, text=True, check=False)
        assert checked.returncode == 0
        assert ("ldconfig" in script) is (strategy == "cdi")


# --- asked of Docker ---------------------------------------------------------------------------


class Docker:
    """Notes what it is asked for; nvidia-smi in the node says `said`."""

    def __init__(self, said: str = UUID, fails: str = "") -> None:
        self.said, self.fails = said, fails
        self.asked: list[tuple[str, ...]] = []
        self.stdin = ""

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        self.asked.append(arguments)
        if self.fails and self.fails in arguments:
            raise docker.DockerError("docker exec failed: exit status 127")
        if "nvidia-smi" in arguments:
            return f"{self.said}\n"
        self.stdin = stdin or ""
        return ""


def test_a_node_without_gpus_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Docker()
    monkeypatch.setattr(docker, "run", asked)
    kind_node.set_up("node", {})
    assert asked.asked == []


def test_a_node_is_set_up_and_then_asked_for_its_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Docker()
    monkeypatch.setattr(docker, "run", asked)
    needs = NOTHING | {"folders": ["/opt/lib"]}
    kind_node.set_up("node", needs)
    first, second = asked.asked
    assert first == ("exec", "--interactive", "node", "sh", "-eu")
    assert asked.stdin == kind_node.script(needs)
    assert second[:3] == ("exec", "node", "nvidia-smi")


def test_mocked_gpus_lie_in_the_node_and_stay_there_when_it_is_restarted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The node is a folder here, its shell this machine's; only root makes device nodes."""

    def node_run(*arguments: str, **_: Any) -> str:
        ran.append(arguments[0])
        if arguments[0] == "cp":
            shutil.copytree(arguments[1], driver, symlinks=True, dirs_exist_ok=True)
            return ""
        command = [word.replace(MOCKED_DRIVER, str(driver)) for word in arguments[2:]]
        path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        return subprocess.run(command, check=True, capture_output=True, text=True, env=path).stdout

    ran: list[str] = []
    (tmp_path / "mknod").write_text('#!/bin/sh\necho "$4 $5 $6" > "$3"\n')
    (tmp_path / "mknod").chmod(0o755)
    driver, parts = tmp_path / "node" / "driver", tmp_path / "parts"
    parts.mkdir()
    for name in (*map(build.library_file, build.LIBRARIES), *build.PROGRAMS):
        (parts / name).touch()
    monkeypatch.setattr(docker, "run", node_run)
    monkeypatch.setattr(build, "built", lambda: parts)
    gpus = mocked("node", 2, GPU_PROFILES["h200"])

    kind_node.set_up("node", {"mocked": gpus})

    assert {gpu["uuid"] for gpu in gpus} <= set(
        re.findall(r"GPU-[0-9a-f-]+", (driver / "usr" / "lib64" / root.LIST).read_text())
    )
    nodes = {path.name: path.read_text() for path in (driver / "dev").iterdir()}
    expected = root.device_nodes(2).items()
    assert nodes == {name: f"c {major} {minor}\n" for name, (major, minor) in expected}
    (driver / root.STATE / "kept").touch()
    kind_node.set_up("node", {"mocked": gpus})
    assert (driver / root.STATE / "kept").exists()
    assert ran.count("cp") == 1


def test_a_mocked_driver_that_cannot_be_compiled_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Path:
        raise SetupError("mocked GPUs need a C compiler")

    monkeypatch.setattr(docker, "run", lambda *_: "missing\n")
    monkeypatch.setattr(build, "built", refuse)
    with pytest.raises(LabError, match="need a C compiler"):
        kind_node.set_up("node", {"mocked": mocked("node", 1, GPU_PROFILES["t4"])})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Docker(fails="sh"), "node node cannot be set up for its GPUs: docker exec failed"),
        (Docker(fails="nvidia-smi"), "nvidia-smi does not run in node node: .*set gpuMounts to"),
        (Docker(f"{UUID}\nGPU-2"), f"node node sees the GPUs .*GPU-2.*, not .*{UUID}"),
        (Docker(""), "node node sees the GPUs"),
    ],
)
def test_a_node_that_does_not_see_exactly_its_gpus_says_why(
    monkeypatch: pytest.MonkeyPatch, asked: Docker, said: str
) -> None:
    monkeypatch.setattr(docker, "run", asked)
    with pytest.raises(LabError, match=said):
        kind_node.set_up("node", NOTHING)
