"""What the tools are built from: digests, and pins that have to agree with one another."""

from __future__ import annotations

import platform
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from checks.prerequisites.embedded import _tools as checked_tools
from tests.unit.toolchain.fakes import fake_go, make_tool
from toolchain import tools
from toolchain.images import IMAGES, KIND_IMAGES
from toolchain.tools import ARCHITECTURES, Cgo, GoTool, Release

ROOT = Path(__file__).resolve().parents[3]
ALL = (
    *tools.PULUMI_PROGRAMS,
    *tools.PULUMI_PLUGINS,
    tools.KUBERNETES,
    tools.ETCD,
    tools.KWOK,
    *tools.CHARTS,
)
RELEASES = (*tools.RELEASES, *tools.HOST_RELEASES, *tools.KIND_RELEASES)
EVERY = (*ALL, *tools.HOST_TOOLS, *tools.KIND_TOOLS)


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GoTool:
    return make_tool(tmp_path, monkeypatch)


@pytest.mark.parametrize("name", ["go.mod", "go.sum", "main.go"])
def test_the_digest_changes_with_every_file_of_the_module(tool: GoTool, name: str) -> None:
    before = tool.digest
    (tool.folder / name).write_text("changed\n")
    assert tool.digest != before


@pytest.mark.parametrize(
    "change",
    [
        {"sets": {"main.version": "9"}},
        {"programs": {"example": "./cmd"}},
        {"files": {"chart": ("example.com/x", "chart")}},
        {"cgo": Cgo(links=())},
        {"cgo": Cgo(links=("-static",))},
        {"cgo": Cgo(links=(), tags=("seccomp",))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_digest_changes_with_what_is_built(tool: GoTool, change: dict[str, Any]) -> None:
    assert replace(tool, **change).digest != tool.digest


def test_the_digest_changes_with_the_platform(
    tool: GoTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tool.digest
    monkeypatch.setattr(platform, "machine", lambda: "another")
    assert tool.digest != before


def test_the_digest_stays_with_another_go_compiler(
    tool: GoTool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = set()
    for version in ("go1.26.0", "go1.27.9"):
        fake_go(tmp_path / version, version=version)
        monkeypatch.setenv("PATH", str(tmp_path / version))
        digests.add(tool.digest)
    assert len(digests) == 1


def test_the_cache_name_says_tool_and_version(tool: GoTool) -> None:
    assert tool.cache_name == f"example-1.2.3-{tool.digest}"
    assert re.fullmatch("[0-9a-f]{12}", tool.digest)


def test_a_title_says_the_version_once(tool: GoTool) -> None:
    assert tool.title == "example 1.2.3"
    assert replace(tool, name="example-1.2.3").title == "example-1.2.3"


@pytest.mark.parametrize("tool", EVERY, ids=lambda tool: tool.name)
def test_every_tool_has_a_module_whose_sums_are_fixed(tool: GoTool) -> None:
    assert (tool.folder / "go.mod").is_file()
    assert (tool.folder / "go.sum").read_text()


def test_no_two_tools_have_a_name_or_a_program_in_common() -> None:
    names = [tool.name for tool in (*EVERY, *{i.name: i for i in (*IMAGES, *KIND_IMAGES)}.values())]
    programs = [program for tool in EVERY for program in tool.programs]
    assert len(set(names)) == len(names)
    assert len(set(programs)) == len(programs)


@pytest.mark.parametrize(
    ("tool", "module"),
    [
        (tools.KUBERNETES, "k8s.io/kubernetes"),
        (tools.ETCD, "go.etcd.io/etcd/server/v3"),
        (tools.KWOK, "sigs.k8s.io/kwok"),
        (tools.PULUMI_CLI, "github.com/pulumi/pulumi/pkg/v3"),
        (tools.PULUMI_LANGUAGE, "github.com/pulumi/pulumi/sdk/v3"),
        *((chart, "sigs.k8s.io/dra-driver-nvidia-gpu") for chart in tools.CHARTS),
        (tools.KUBELET, "k8s.io/kubernetes"),
        (tools.CONTAINERD, "github.com/containerd/containerd/v2"),
        (tools.RUNC, "github.com/opencontainers/runc"),
        (tools.CNI_PLUGINS, "github.com/containernetworking/plugins"),
        (tools.NVIDIA_TOOLKIT, "github.com/NVIDIA/nvidia-container-toolkit"),
        (tools.DRIVER_PLUGIN, "sigs.k8s.io/dra-driver-nvidia-gpu"),
        (tools.KIND, "sigs.k8s.io/kind"),
        (tools.EXAMPLE_DRIVER, "sigs.k8s.io/dra-example-driver"),
        (tools.EXAMPLE_CHART, "sigs.k8s.io/dra-example-driver"),
    ],
    ids=lambda value: value.name if isinstance(value, GoTool) else "",
)
def test_a_tool_reports_the_version_of_the_module_that_it_is_built_from(
    tool: GoTool, module: str
) -> None:
    assert f"{module} v{tool.version}\n" in (tool.folder / "go.mod").read_text()


def test_pulumi_and_its_providers_are_those_that_the_python_packages_ask_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pins = dict(pin.split("==") for pin in project["dependencies"])
    assert pins["pulumi"] == tools.PULUMI_VERSION
    assert {name: pins[f"pulumi-{name}"] for name in tools.PLUGINS} == {
        name: version for name, (version, _) in tools.PLUGINS.items()
    }


# --- releases ------------------------------------------------------------------------------------


def test_every_tool_but_the_charts_is_built_where_its_release_cannot_be_had() -> None:
    built = [tool for release in tools.RELEASES for tool in release.instead_of]
    assert [tool.name for tool in built if built.count(tool) > 1] == []
    assert {tool.name for tool in built} == {t.name for t in ALL if t not in tools.CHARTS}


def test_of_a_host_node_only_ours_nvidias_and_parts_of_images_have_no_release() -> None:
    built = [tool for release in tools.HOST_RELEASES for tool in release.instead_of]
    parts = [tool for image in IMAGES for tool in image.made_of]
    assert {tool.name for tool in (*built, *tools.HOST_BUILT, *parts)} == {
        t.name for t in (*tools.HOST_TOOLS, *tools.BUILT)
    }
    assert [tool.name for tool in built if tool in (*tools.HOST_BUILT, *parts)] == []


def test_for_kind_only_the_example_driver_and_its_chart_have_no_release() -> None:
    built = [tool for release in tools.KIND_RELEASES for tool in release.instead_of]
    assert [*built, *tools.KIND_BUILT, *tools.KIND_CHARTS] == list(tools.KIND_TOOLS)
    parts = {tool.name for image in KIND_IMAGES for tool in image.made_of}
    assert parts <= {tool.name for tool in tools.KIND_TOOLS}


def test_set_up_for_kind_takes_no_compiler_of_c() -> None:
    assert [tool.name for tool in tools.KIND_TOOLS if tool.cgo] == []


@pytest.mark.parametrize("more", [tools.HOST_TOOLS, tools.KIND_TOOLS], ids=["host", "kind"])
def test_ordinary_set_up_builds_nothing_of_what_must_be_asked_for(more: tuple[GoTool]) -> None:
    ordinary = {tool.name for release in tools.RELEASES for tool in release.instead_of}
    assert ordinary.isdisjoint(tool.name for tool in more)


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_a_release_goes_where_what_is_built_instead_goes(release: Release) -> None:
    assert {tool.into for tool in release.instead_of} == {release.into}


def test_the_plugin_of_the_driver_is_one_whose_chart_is_there() -> None:
    assert tools.DRIVER_PLUGIN_VERSION in tools.DRIVER_CHARTS


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_a_release_has_the_version_and_the_programs_of_what_is_built_instead(
    release: Release,
) -> None:
    placed = [tool for tool in release.instead_of if tool not in tools.PULUMI_PLUGINS]
    programs = {name for tool in placed for name in tool.places}
    assert release.places.keys() == programs
    assert release.version == release.instead_of[0].version


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_a_release_is_published_over_https_for_every_machine(
    release: Release, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    for file in release.files:
        for url in (file.url, file.sums):
            assert re.fullmatch(r"https://[a-z0-9.]+/[\w./-]+", url)
            assert release.version in url


def test_releases_are_where_their_projects_put_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    github, k8s = "https://github.com", "https://dl.k8s.io/v1.37.2/bin/linux/amd64"
    plugins = f"{github}/containernetworking/plugins/releases/download/v1.9.1"
    containerd = f"{github}/containerd/containerd/releases/download/v2.4.2"
    assert [file.url for release in RELEASES for file in release.files] == [
        f"{github}/kubernetes-sigs/kwok/releases/download/v0.8.0/kwok-linux-amd64",
        f"{github}/kubernetes-sigs/kwok/releases/download/v0.8.0/kwokctl-linux-amd64",
        f"{github}/etcd-io/etcd/releases/download/v3.6.14/etcd-v3.6.14-linux-amd64.tar.gz",
        f"{k8s}/kube-apiserver",
        f"{k8s}/kube-controller-manager",
        f"{k8s}/kube-scheduler",
        "https://get.pulumi.com/releases/sdk/pulumi-v3.259.0-linux-x64.tar.gz",
        f"{github}/opencontainers/runc/releases/download/v1.4.3/runc.amd64",
        f"{plugins}/cni-plugins-linux-amd64-v1.9.1.tgz",
        f"{containerd}/containerd-static-2.4.2-linux-amd64.tar.gz",
        f"{k8s}/kubelet",
        f"{github}/kubernetes-sigs/kind/releases/download/v0.33.0/kind-linux-amd64",
    ]
    assert {file.sums for release in RELEASES for file in release.files} == {
        "https://api.github.com/repos/kubernetes-sigs/kwok/releases/tags/v0.8.0",
        f"{github}/etcd-io/etcd/releases/download/v3.6.14/SHA256SUMS",
        *(f"{k8s}/{name}.sha256" for name in tools.KUBERNETES_RELEASE.places),
        "https://get.pulumi.com/releases/sdk/pulumi-3.259.0-checksums.txt",
        f"{github}/opencontainers/runc/releases/download/v1.4.3/runc.sha256sum",
        f"{plugins}/cni-plugins-linux-amd64-v1.9.1.tgz.sha256",
        f"{containerd}/containerd-static-2.4.2-linux-amd64.tar.gz.sha256sum",
        f"{k8s}/kubelet.sha256",
        f"{github}/kubernetes-sigs/kind/releases/download/v0.33.0/kind-linux-amd64.sha256sum",
    }


def test_a_release_for_another_machine_lies_in_another_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = set()
    for machine in ("x86_64", "aarch64"):
        monkeypatch.setattr(platform, "machine", lambda m=machine: m)
        names.add(tools.ETCD_RELEASE.cache_name)
    assert len(names) == 2
    assert tools.ETCD.cache_name not in names, "nor is it taken for one that was built"


def test_what_is_taken_from_path_passes_the_check_of_module_0() -> None:
    expected = {name: version for name, version, _ in checked_tools(tools.KUBERNETES_VERSION)}
    for release in tools.RELEASES:
        for name in release.places.keys() & expected.keys():
            version = release.on_path or release.version
            assert f"{version}.".startswith(f"{expected[name]}.")
