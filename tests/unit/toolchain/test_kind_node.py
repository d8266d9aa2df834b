"""The image of kind's nodes: what decides it, what is in it, what is told of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.toolchain.test_tools import EVERY
from toolchain import cache, install, oci, tools
from toolchain.errors import SetupError
from toolchain.kind_node import base, build, image, parts, preload, root
from toolchain.kind_node.image import NodeImage

FILES = root.FILES


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache.folder().mkdir(parents=True)
    image.digest.cache_clear()


# --- names and digests ------------------------------------------------------------------------


def test_the_reference_tells_kubernetes_and_what_decides_the_image() -> None:
    name, _, tag = image.reference().rpartition(":")
    assert name == "localhost/dra-workshop/kind-node"
    assert tag == f"v{tools.KUBERNETES_VERSION}-{image.digest()}"


@pytest.mark.parametrize("changed", ["PACKAGES", "RELEASE", "LEFT_OUT"])
def test_the_digest_changes_with_the_packages(
    changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = image.digest()
    monkeypatch.setattr(base, changed, ("other",))
    image.digest.cache_clear()
    assert image.digest() != before


def test_the_digest_changes_with_our_files_and_with_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = image.digest()
    assert {"fit-runtime", "root.py", "oci.py", "default-cni.yaml"} <= {
        path.name for path in image.makers()
    }
    (tmp_path / "changed").touch()
    monkeypatch.setattr(image, "makers", lambda: [tmp_path / "changed"])
    image.digest.cache_clear()
    assert image.digest() != before


@pytest.mark.parametrize("tool", parts.OURS, ids=lambda tool: tool.name)
def test_every_tool_of_a_node_has_a_module_whose_sums_are_fixed(tool: tools.GoTool) -> None:
    assert (tool.folder / "go.sum").read_text()
    assert tool.name not in {other.name for other in EVERY}


@pytest.mark.parametrize(
    ("tool", "module"),
    [
        (parts.KUBE_NODE, "k8s.io/kubernetes"),
        (parts.COREDNS, "github.com/coredns/coredns"),
        (parts.CRICTL, "sigs.k8s.io/cri-tools"),
        (parts.NODE_CNI, "github.com/containernetworking/plugins"),
        (parts.KIND_FILES, "sigs.k8s.io/kind"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_tool_of_a_node_is_of_its_modules_version(tool: tools.GoTool, module: str) -> None:
    assert f"{module} v{tool.version}\n" in (tool.folder / "go.mod").read_text()


# --- what is built or released ------------------------------------------------------------------


def fill(tool: tools.Tool) -> Path:
    folder = cache.folder() / tool.cache_name
    folder.mkdir()
    return folder


def test_what_is_released_need_not_be_built() -> None:
    assert parts.unbuilt() == list(parts.TOOLS)
    folder = fill(tools.KUBERNETES_RELEASE)
    assert tools.KUBERNETES not in parts.unbuilt()
    found = [parts.program(tools.KUBERNETES, name) for name in parts.CONTROL_PLANE]
    assert found == [folder / name for name in parts.CONTROL_PLANE]


def test_what_is_built_as_one_program_is_found_under_all_its_names() -> None:
    folder = fill(tools.KUBERNETES)
    found = {parts.program(tools.KUBERNETES, name) for name in parts.CONTROL_PLANE}
    assert found == {folder / "kube"}


def test_a_program_that_is_not_built_has_a_remedy() -> None:
    with pytest.raises(SetupError, match=r"kube-node 1.37.2 is not in the cache; run: make kind-"):
        parts.program(parts.KUBE_NODE, "kubelet")


# --- images of the control plane ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("registry.k8s.io/coredns/coredns:v1.14.2", "coredns"),
        ("registry.k8s.io/etcd:3.6.8-0", "etcd"),
        (parts.KIND_NET_IMAGE, "kind-net"),
    ],
)
def test_an_image_is_known_by_its_last_name(reference: str, name: str) -> None:
    assert preload.short_name(reference) == name
    preload._recipe(reference)


def test_an_image_without_a_recipe_is_named() -> None:
    with pytest.raises(SetupError, match=r"wants the image a.example/new:1, .* no recipe for new"):
        preload._recipe("a.example/new:1")


def test_images_of_one_program_are_one_layer() -> None:
    (fill(tools.KUBERNETES) / "kube").write_bytes(b"program")
    made = [preload._recipe(f"registry/{name}:1")(Path()) for name in parts.CONTROL_PLANE]
    assert len({str(sorted(content.members)) for content, _ in made}) == 1
    assert [settings["Entrypoint"] for _, settings in made] == [[n] for n in parts.CONTROL_PLANE]
    files = [m for m, (info, _) in made[0][0].members.items() if info.isreg() and "bin/" in m]
    assert files == ["usr/local/bin/kube-apiserver"]


@pytest.mark.parametrize("told", ['  sandbox_image = "registry.k8s.io/pause:3.10"\n', "nothing\n"])
def test_the_sandbox_is_the_one_that_kind_configures(told: str, tmp_path: Path) -> None:
    (tmp_path / "etc" / "containerd").mkdir(parents=True)
    (tmp_path / "etc" / "containerd" / "config.toml").write_text(f"[a]\n{told}")
    if told == "nothing\n":
        with pytest.raises(SetupError, match="names no sandbox_image"):
            preload._sandbox(tmp_path)
    else:
        assert preload._sandbox(tmp_path) == "registry.k8s.io/pause:3.10"


# --- files --------------------------------------------------------------------------------------


def test_containers_start_from_containerds_specification_with_kinds_hook() -> None:
    told = {"process": {"args": ["sh"], "rlimits": [{"type": "RLIMIT_NOFILE"}]}, "root": {}}
    spec = json.loads(root.base_spec(json.dumps(told)))
    assert spec["process"] == {"args": ["sh"]}
    assert spec["hooks"] == {"createContainer": [{"path": root.HOOK}]}


@pytest.mark.parametrize("name", ["default-cni.yaml", "default-storage.yaml"])
def test_what_kind_applies_can_be_read(name: str) -> None:
    objects = list(yaml.safe_load_all((FILES / name).read_text()))
    assert all(one["apiVersion"] and one["metadata"]["name"] for one in objects)


def test_the_pod_network_is_told_the_control_plane_by_kind() -> None:
    text = (FILES / "default-cni.yaml").read_text()
    assert "would you kindly patch this file" in text, "kind looks for these words"
    daemons = [one for one in yaml.safe_load_all(text) if one["kind"] == "DaemonSet"]
    (container,) = daemons[0]["spec"]["template"]["spec"]["containers"]
    assert container["env"], "kind adds a variable to this list"
    assert container["image"] == "KIND_NET_IMAGE"


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq, which every node has")
@pytest.mark.parametrize("part", ["config.json", "process.json"])
def test_runc_gives_no_capability_that_the_machine_withholds(part: str, tmp_path: Path) -> None:
    capabilities = {
        "bounding": ["CAP_SYS_RESOURCE", "CAP_KILL"],
        "effective": ["CAP_KILL"],
    }
    process: dict[str, Any] = {"args": ["echo", "CAP_SYS_RESOURCE"], "capabilities": capabilities}
    whole = {"process": process, "hostname": "n"} if part == "config.json" else process
    (tmp_path / part).write_text(json.dumps(whole))
    script = tmp_path / "runc-within-bounds"
    script.write_text(
        (FILES / "runc-within-bounds")
        .read_text()
        .replace("/usr/local/lib/dra-workshop/runc", "/bin/echo")
    )
    arguments = {
        "config.json": ["--root", "/r", "create", "--bundle", str(tmp_path), "id"],
        "process.json": ["exec", "--process", str(tmp_path / part), "id"],
    }[part]
    done = subprocess.run(["sh", script, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.split() == arguments
    expected = json.loads(json.dumps(whole))
    (expected.get("process") or expected)["capabilities"]["bounding"] = ["CAP_KILL"]
    assert json.loads((tmp_path / part).read_text()) == expected


# --- what is told -------------------------------------------------------------------------------


def test_the_description_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = tmp_path / image.FOLDER
    folder.mkdir()
    made = NodeImage("a:b", "1.37.2", image.ARCHIVE, "0" * 64, 3, "sha256:1", "sha256:2", "0.33.0")
    made.write(folder)
    assert image.read(tmp_path) is None, "without its archive it is none"
    (folder / image.ARCHIVE).touch()
    assert image.read(tmp_path) == made


def test_building_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(SetupError, match="needs root: sudo make kind-node-image"):
        base.require()


def test_building_needs_debootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="needs debootstrap; Debian: apt-get install debootstrap"):
        base.require()


def test_packages_that_are_in_the_cache_need_no_debootstrap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    packages = cache.folder() / base._name() / base.TAR
    packages.parent.mkdir()
    packages.touch()
    base.require()


# --- the cache ----------------------------------------------------------------------------------


@pytest.fixture
def assembled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images that were assembled; that, all before it is done, takes no time and no root."""
    noted: list[str] = []

    def assemble() -> None:
        with cache.filled(image.cache_name(), {}) as folder:
            (folder / image.ARCHIVE).write_text(image.reference())
            build._describe(folder, oci.Identity("sha256:1", "sha256:2"))
        noted.append(image.reference())

    monkeypatch.setattr(build, "_assemble", assemble)
    monkeypatch.setattr(base, "require", lambda: None)
    monkeypatch.setattr(install, "have", lambda *_: None)
    monkeypatch.setattr(install, "TOOLS", tmp_path / ".tools")
    return noted


def test_an_image_is_described_and_at_hand(assembled: list[str], tmp_path: Path) -> None:
    made = build.build()
    assert (made.reference, made.bytes) == (image.reference(), len(image.reference()))
    assert image.read(tmp_path / ".tools") == made
    assert build.build() == made
    assert assembled == [made.reference]


def test_a_checkout_keeps_its_image_when_the_cache_is_gone(assembled: list[str]) -> None:
    made = build.build()
    shutil.rmtree(cache.folder())
    assert build.build() == made
    assert len(assembled) == 1


def test_an_image_takes_the_place_of_earlier_ones_in_the_cache(
    assembled: list[str], tmp_path: Path
) -> None:
    version = tools.KUBERNETES_VERSION
    for name in (f"kind-node-{version}-0123456789ab", "kind-node-base-x", "kind-node-files-1-y"):
        (cache.folder() / name).mkdir()
    build.build()
    left = {path.name for path in cache.folder().iterdir() if path.is_dir()}
    assert left == {image.cache_name(), "kind-node-base-x", "kind-node-files-1-y"}


def test_without_root_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(install, "TOOLS", tmp_path / ".tools")
    with pytest.raises(SetupError, match="needs root"):
        build.build()
    assert not (tmp_path / ".tools").exists()
    assert list(cache.folder().iterdir()) == []
