"""Filling `.tools/`, with a `go` and a `pulumi` that are shell scripts."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

import pytest

from tests.unit.release_site import LabContext
from tests.unit.scripts import calls, write_script
from tests.unit.toolchain.fakes import Capture, builds, fake_go, fake_pulumi
from toolchain import cache, host, images, install, kind, layout, on_path
from toolchain.bundle.tools import find_cached
from toolchain.errors import SetupError
from toolchain.go import Go
from toolchain.images import IMAGES, KIND_IMAGES, Image
from toolchain.tools import CHART, CNI_RELEASE, HOST_RELEASES, PLUGINS, PULUMI_RELEASE, RELEASES

pytestmark = pytest.mark.usefixtures("checkout")


# --- the whole -----------------------------------------------------------------------------------


def test_a_first_set_up_places_every_tool_and_makes_the_stacks(
    go: Go, checkout: Path, capsys: Capture
) -> None:
    install.install()
    tools = checkout / ".tools"
    assert {p.name for p in (tools / "bin").iterdir() if not p.name.endswith(".calls")} == {
        "dra-webhook",
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubectl",
        "kwok",
        "kwokctl",
        "pulumi",
        "pulumi-language-python",
        "pulumi-language-python-exec",
    }
    assert not (tools / "bin" / "pulumi").is_symlink(), "pulumi looks beside its resolved path"
    assert (tools / "charts" / f"{CHART}-0.5.0" / "Chart.yaml").exists()
    made = checkout / ".state" / ".pulumi" / "stacks" / "dra-workshop"
    assert {path.name for path in made.iterdir()} == {"dev.json", "module0.json"}
    installed = [call for call in calls(tools / "bin" / "pulumi") if call.startswith("plugin")]
    assert [call.split()[2:5] for call in installed] == [
        ["resource", name, version] for name, (version, _) in PLUGINS.items()
    ]
    assert capsys.readouterr().err.splitlines()[-1].startswith("set-up: ready (")


def test_a_second_set_up_does_nothing_and_says_nothing(
    go: Go, checkout: Path, capsys: Capture
) -> None:
    install.install()
    capsys.readouterr()
    before = {path: path.lstat().st_mtime_ns for path in checkout.rglob("*")}
    compiled = calls(go.program)
    install.install()
    assert capsys.readouterr() == ("", "")
    assert {path: path.lstat().st_mtime_ns for path in checkout.rglob("*")} == before
    assert calls(go.program) == compiled


@pytest.mark.usefixtures("go")
def test_sources_and_compiled_packages_do_not_stay_in_the_cache() -> None:
    (cache.folder() / "go-build").mkdir(parents=True)
    install.install()
    assert not (cache.folder() / "go-build").exists()


@pytest.mark.usefixtures("go")
def test_the_state_of_the_stacks_is_for_its_owner_only_also_an_older_one(checkout: Path) -> None:
    (checkout / ".state").mkdir(mode=0o755)
    install.install()
    assert (checkout / ".state").stat().st_mode & 0o777 == 0o700


def test_another_checkout_builds_nothing_again(go: Go, checkout: Path) -> None:
    install.install()
    compiled = builds(go)
    shutil.rmtree(checkout / ".tools")
    install.install()
    assert (checkout / ".tools" / "bin" / "etcd").exists()
    assert builds(go) == compiled


def test_a_newer_go_builds_nothing_again(go: Go, path: Path) -> None:
    install.install()
    newer = fake_go(path, version="go1.27.9")
    compiled = builds(newer)
    install.install()
    assert builds(newer) == compiled


# --- a host node ---------------------------------------------------------------------------------


def test_a_host_node_has_its_tools_and_images_beside_the_ordinary_ones(
    assembled: list[Image],
) -> None:
    install.install(host_node=True)
    assert host.missing(layout.TOOLS) == []
    assert {path.name for path in (layout.TOOLS / "cni").iterdir()} == {
        *("bridge", "host-local", "loopback")
    }
    assert {path.name for path in (layout.TOOLS / "images").iterdir()} == {
        *("dra-driver.tar", "pause.tar", "workload.tar")
    }
    for name in (
        *("kubelet", "containerd", "containerd-shim-runc-v2", "ctr", "runc", "nvidia-ctk"),
        *("nvidia-cdi-hook", "node-proxy", "kube-apiserver", "pulumi"),
    ):
        assert (layout.BIN / name).exists()
    for name in ("pause", "gpu-kubelet-plugin"):
        assert not (layout.BIN / name).exists(), "it goes into an image only"
    assert assembled == list(IMAGES)


def test_ordinary_set_up_makes_nothing_of_a_host_node(assembled: list[Image]) -> None:
    install.install()
    assert host.missing(layout.TOOLS) == [
        f"{tool.into}/{name}" for tool in host.PLACED for name in tool.places
    ]
    assert assembled == []


def test_a_second_set_up_of_a_host_node_does_nothing_and_says_nothing(
    assembled: list[Image], go: Go, checkout: Path, capsys: Capture
) -> None:
    install.install(host_node=True)
    capsys.readouterr()
    before = {path: path.lstat().st_mtime_ns for path in checkout.rglob("*")}
    compiled = calls(go.program)
    install.install(host_node=True)
    install.install()
    assert capsys.readouterr() == ("", "")
    assert {path: path.lstat().st_mtime_ns for path in checkout.rglob("*")} == before
    assert (calls(go.program), len(assembled)) == (compiled, len(IMAGES))


def test_another_checkout_takes_the_images_from_the_cache(
    assembled: list[Image], checkout: Path
) -> None:
    install.install(host_node=True)
    shutil.rmtree(checkout / ".tools")
    install.install(host_node=True)
    assert host.missing(layout.TOOLS) == []
    assert len(assembled) == len(IMAGES)


def test_what_is_placed_stays_when_the_cache_is_gone(assembled: list[Image], go: Go) -> None:
    install.install(host_node=True)
    compiled = builds(go)
    shutil.rmtree(cache.folder())
    install.install(host_node=True)
    assert (builds(go), len(assembled)) == (compiled, len(IMAGES))


def test_what_goes_into_a_changed_image_is_built_again_if_only_the_checkout_has_it(
    assembled: list[Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install.install(host_node=True)
    shutil.rmtree(cache.folder())
    (tmp_path / "changed.py").touch()
    monkeypatch.setattr(images, "MAKERS", (tmp_path / "changed.py",))
    install.install(host_node=True)
    assert len(assembled) == 2 * len(IMAGES)
    assert host.missing(layout.TOOLS) == []


# --- kind ----------------------------------------------------------------------------------------


def test_set_up_for_kind_places_kind_the_example_driver_and_the_images_of_pods(
    assembled: list[Image], path: Path
) -> None:
    (path / "gcc").unlink()
    (path / "pkg-config").unlink()
    install.install(kind=True)
    assert kind.missing(layout.TOOLS) == []
    assert (layout.BIN / "kind").exists()
    chart = layout.TOOLS / "charts" / "dra-example-driver-0.4.0"
    assert (chart / "Chart.yaml").exists()
    assert assembled == list(KIND_IMAGES)
    assert {path.name for path in (layout.TOOLS / "images").iterdir()} == {
        *("dra-example-driver.tar", "workload.tar")
    }


def test_a_second_set_up_for_kind_does_nothing_and_says_nothing(
    assembled: list[Image], go: Go, capsys: Capture
) -> None:
    install.install(kind=True)
    capsys.readouterr()
    compiled = builds(go)
    install.install(kind=True)
    assert capsys.readouterr() == ("", "")
    assert (builds(go), len(assembled)) == (compiled, len(KIND_IMAGES))


def test_set_up_for_both_assembles_no_image_twice(assembled: list[Image]) -> None:
    install.install(host_node=True, kind=True)
    assert (host.missing(layout.TOOLS), kind.missing(layout.TOOLS)) == ([], [])
    assert len(assembled) == len({image.name for image in (*IMAGES, *KIND_IMAGES)})


def test_what_kind_lacks_is_told(assembled: list[Image]) -> None:
    install.install()
    assert kind.missing(layout.TOOLS) == [
        *("bin/kind", "bin/dra-example-kubeletplugin"),
        *("images/workload.tar", "images/dra-example-driver.tar"),
        "charts/dra-example-driver-0.4.0/Chart.yaml",
    ]


@pytest.mark.usefixtures("assembled")
@pytest.mark.parametrize(
    ("version", "taken"),
    [
        ("0.31.9", False),
        ("0.32.0", True),
        ("0.33.0", True),
        ("1.0.0", True),
        ("0.32.0-beta", False),
    ],
)
def test_kind_is_taken_from_path_from_0_32_on(version: str, taken: bool, path: Path) -> None:
    program = write_script(path / "kind", f"echo kind version {version}")
    install.install(kind=True)
    placed = layout.BIN / "kind"
    assert (placed.is_symlink() and placed.readlink() == program) == taken


def test_a_bundle_is_packed_without_what_is_for_kind(assembled: list[Image], path: Path) -> None:
    write_script(path / "kind", "echo kind version 0.33.0")
    install.install(kind=True)
    assert {"kind", "dra-example-plugin", "dra-example-chart"}.isdisjoint(find_cached())


def test_missing_headers_end_set_up_before_anything_is_built(
    assembled: list[Image], go: Go, path: Path
) -> None:
    write_script(path / "pkg-config", "exit 1")
    with pytest.raises(SetupError, match="needs the headers of libseccomp; Debian and Ubuntu"):
        install.install(host_node=True)
    assert builds(go) == 0


def test_a_host_node_is_linux(assembled: list[Image], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    with pytest.raises(SetupError) as refusal:
        install.install(host_node=True)
    assert str(refusal.value) == (
        "a host node needs Linux, and this is darwin; `make setup` has all that the embedded "
        "cluster needs"
    )
    assert not layout.TOOLS.exists()


@pytest.mark.usefixtures("assembled")
def test_the_tools_of_a_host_node_are_downloaded_where_they_can_be(
    site: LabContext, go: Go
) -> None:
    for release in (*RELEASES, *HOST_RELEASES):
        contents = {name: f"released {name}".encode() for name in release.places}
        site.publish(release, contents)
    fake = fake_pulumi(layout.ROOT.parent / "released" / "pulumi").read_bytes()
    site.publish(PULUMI_RELEASE, dict.fromkeys(PULUMI_RELEASE.places, fake))
    install.install(host_node=True)
    assert (layout.TOOLS / "cni" / "bridge").read_text() == "released bridge"
    assert (layout.BIN / "runc").read_text() == "released runc"
    assert (layout.BIN / "ctr").read_text() == "released ctr"
    assert builds(go) == 6, "NVIDIA's three, node-proxy, pause, the driver's plugin"


def test_cni_plugins_on_path_are_left_alone(path: Path) -> None:
    layout.BIN.mkdir(parents=True)
    for name in CNI_RELEASE.places:
        write_script(path / name, f"echo {CNI_RELEASE.version}")
    assert not on_path.link_programs(CNI_RELEASE), "bridge is also a program of iproute2"


def test_a_file_that_is_missing_is_told(assembled: list[Image]) -> None:
    install.install(host_node=True)
    (layout.TOOLS / "cni" / "bridge").unlink()
    (layout.TOOLS / "images" / "pause.tar").unlink()
    assert host.missing(layout.TOOLS) == ["cni/bridge", "images/pause.tar"]


# --- platform, environment, clean ----------------------------------------------------------------


@pytest.fixture
def on_platform(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Its name, as the error or the notice says it."""
    system, machine = request.param
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    return f"{system}-{machine}"


@pytest.mark.parametrize(
    "on_platform", [("win32", "AMD64"), ("linux", "riscv64"), ("freebsd14", "amd64")], indirect=True
)
def test_an_unsupported_platform_is_one_line(on_platform: str) -> None:
    with pytest.raises(SetupError) as refusal:
        install.install()
    assert str(refusal.value) == (
        f"platform {on_platform} is not supported; these are: {', '.join(install.PLATFORMS)}"
    )
    assert not layout.TOOLS.exists()


@pytest.mark.parametrize(
    "on_platform", [("linux", "aarch64"), ("darwin", "arm64"), ("darwin", "x86_64")], indirect=True
)
def test_an_untested_platform_is_told_once(on_platform: str, capsys: Capture) -> None:
    install._require_platform()
    assert capsys.readouterr().err == (
        f"set-up: platform {on_platform} builds from the same sources as linux-x86_64 "
        "but is untested\n"
    )
    layout.BIN.mkdir(parents=True)
    install._require_platform()
    assert capsys.readouterr().err == ""
