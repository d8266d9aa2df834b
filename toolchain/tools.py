"""What the workshop runs on: each tool as its project releases it, and as it is built.

To be built, a tool has a folder in `toolchain/modules/` whose go.mod and go.sum fix the versions
of all that goes into it. Nothing here asks a registry for a list of versions.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
MODULES = Path(__file__).resolve().parent / "modules"
KUBERNETES_VERSION = "1.36.4"
PULUMI_VERSION = "3.259.0"
DRIVER_CHARTS = ("0.5.0", "0.4.1")
"""Versions of NVIDIA's DRA driver whose chart set-up lays into `.tools/charts`."""
DRIVER_PLUGIN_VERSION = "0.4.1"
"""Version of NVIDIA's DRA driver that runs on a host node: 0.5.0 cannot be built, as the Go module
proxy does not serve its dependency go-nvfm."""


@dataclass(frozen=True)
class Tool:
    """Programs that lie in a folder of the cache, whose name says what they come from.

    version: as the tool itself reports it.
    into: folder of `.tools` that its files are placed in.
    """

    name: str
    version: str
    into: str = field(default="bin", kw_only=True)

    @property
    def title(self) -> str:
        return self.name if self.version in self.name else f"{self.name} {self.version}"

    @property
    def digest(self) -> str:
        """Twelve hex digits over all that decides what the programs are."""
        raise NotImplementedError

    @property
    def cache_name(self) -> str:
        return f"{self.name}-{self.version}-{self.digest}"

    @property
    def places(self) -> Mapping[str, str]:
        """File name in `.tools/<into>` → file name in the tool's folder of the cache."""
        raise NotImplementedError


@dataclass(frozen=True)
class Cgo:
    """What a tool that is partly written in C asks of the C compiler.

    links: flags of the linker. tags: build tags.
    libraries: name under which pkg-config knows it → Debian's package with its headers.
    """

    links: tuple[str, ...]
    tags: tuple[str, ...] = ()
    libraries: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GoTool(Tool):
    """A tool that is built from Go modules.

    name: folder under `toolchain/modules/`.
    programs: file name → package that it is built from.
    aliases: program → further names under which it is to be called.
    sets: linker variables (`-X`).
    files: name → (module, path in it) of a file or folder that is taken as it is.
    cgo: None where the tool is all Go, and so runs on any Linux.
    minutes: what building took, alone in a cold cache on two cores of linux/amd64.
    """

    programs: dict[str, str]
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)
    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    cgo: Cgo | None = None
    minutes: float = 0.0

    @property
    def folder(self) -> Path:
        return MODULES / self.name

    @property
    def digest(self) -> str:
        """Over all that decides what is built.

        The Go compiler is left out on purpose: its next patch release must not cost a user
        twenty minutes for the same programs.
        """
        content = hashlib.sha256()
        for path in sorted(self.folder.iterdir()):
            content.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        decided = (self.programs, self.sets, self.files, sys.platform, platform.machine())
        content.update(repr(decided).encode())
        if self.cgo:
            content.update(repr(self.cgo).encode())
        return content.hexdigest()[:12]

    @property
    def places(self) -> Mapping[str, str]:
        built = {
            name: program
            for program in self.programs
            for name in self.aliases.get(program) or (program,)
        }
        return built | {name: name for name in self.files}


@dataclass(frozen=True)
class Asset:
    """A file of a release: an archive, or a program itself.

    url: where it is. sums: where its SHA-256 is published, in one of the forms that
    `toolchain.download` reads.
    programs: file name → path of the program in the archive, "" where the file is the program.
    All may have fields: {version}, {os}, {arch} (amd64 or arm64), {x64} (x64 or arm64) and
    {archive} (tar.gz, zip on macOS).
    """

    url: str
    sums: str
    programs: dict[str, str]

    def here(self, version: str) -> Asset:
        """The one for this machine, its fields filled in."""
        arch = ARCHITECTURES[platform.machine()]
        fields = {
            "version": version,
            "os": sys.platform,
            "arch": arch,
            "x64": arch.replace("amd64", "x64"),
            "archive": "zip" if sys.platform == "darwin" else "tar.gz",
        }
        programs = {name: path.format(**fields) for name, path in self.programs.items()}
        return Asset(self.url.format(**fields), self.sums.format(**fields), programs)


@dataclass(frozen=True)
class Release(Tool):
    """A tool as its project publishes it.

    instead_of: what is built where the release cannot be had.
    systems: those that the project publishes it for.
    into: see Tool; what goes elsewhere than into `.tools/bin` is not looked for on PATH.
    on_path: how the version of programs on PATH must begin that may serve instead of it;
    "" for exactly this version.
    oldest: the oldest version on PATH that may serve, with every later one; "" for none but those.
    """

    assets: tuple[Asset, ...]
    instead_of: tuple[GoTool, ...]
    systems: tuple[str, ...] = ("linux", "darwin")
    on_path: str = ""
    oldest: str = ""

    @property
    def published(self) -> bool:
        """Whether the project publishes it for this machine."""
        return sys.platform in self.systems

    @property
    def files(self) -> tuple[Asset, ...]:
        return tuple(asset.here(self.version) for asset in self.assets)

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(self.files).encode()).hexdigest()[:12]

    @property
    def places(self) -> Mapping[str, str]:
        return {name: name for asset in self.assets for name in asset.programs}


_PULUMI_SETS = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"

PULUMI_CLI = GoTool(
    "pulumi",
    PULUMI_VERSION,
    {"pulumi": "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"},
    sets={_PULUMI_SETS: f"v{PULUMI_VERSION}"},
    # Pulumi runs Python through this script, which must lie beside its language host.
    files={
        "pulumi-language-python-exec": (
            "github.com/pulumi/pulumi/sdk/v3",
            "python/cmd/pulumi-language-python-exec",
        ),
    },
    minutes=3.1,
)
PULUMI_LANGUAGE = GoTool(
    "pulumi-language-python",
    "3.187.0",
    {"pulumi-language-python": "github.com/pulumi/pulumi/sdk/python/cmd/pulumi-language-python/v3"},
    sets={_PULUMI_SETS: "v3.187.0"},
    minutes=0.4,
)
PULUMI_COMMAND = GoTool(
    "pulumi-resource-command",
    "0.9.3-alpha.0",
    {
        "pulumi-resource-command": "github.com/pulumi/pulumi-command/provider/cmd"
        "/pulumi-resource-command"
    },
    # What it truly is; Pulumi warns that the SDK expects 1.2.1, and that warning is honest.
    sets={"github.com/pulumi/pulumi-command/provider/pkg/version.Version": "0.9.3-alpha.0+2fe00b6"},
    minutes=0.4,
)
PULUMI_KUBERNETES = GoTool(
    "pulumi-resource-kubernetes",
    "4.29.0",
    {"pulumi-resource-kubernetes": "."},
    sets={"main.version": "4.29.0"},
    minutes=7.5,
)
KUBERNETES_SETS = {
    "k8s.io/component-base/version.gitVersion": f"v{KUBERNETES_VERSION}",
    "k8s.io/component-base/version.gitMajor": KUBERNETES_VERSION.split(".")[0],
    "k8s.io/component-base/version.gitMinor": KUBERNETES_VERSION.split(".")[1],
}
KUBERNETES = GoTool(
    "kube",
    KUBERNETES_VERSION,
    {"kube": "."},
    aliases={"kube": ("kube-apiserver", "kube-controller-manager", "kube-scheduler")},
    sets=KUBERNETES_SETS,
    minutes=3.6,
)
# PyPI ships etcd 3.5.1, which cannot report watch progress: the watches of a control plane of
# Kubernetes 1.36 break on it and are listed again after up to half a minute.
ETCD = GoTool("etcd", "3.6.14", {"etcd": "go.etcd.io/etcd/server/v3"}, minutes=0.4)
KWOK = GoTool(
    "kwok",
    "0.8.0",
    {"kwok": "sigs.k8s.io/kwok/cmd/kwok", "kwokctl": "sigs.k8s.io/kwok/cmd/kwokctl"},
    minutes=1.6,
)

CHART = "dra-driver-nvidia-gpu"
CHARTS = tuple(
    GoTool(
        f"dra-driver-{version}",
        version,
        {},
        files={CHART: ("sigs.k8s.io/dra-driver-nvidia-gpu", f"deployments/helm/{CHART}")},
    )
    for version in DRIVER_CHARTS
)

PULUMI_PROGRAMS = (PULUMI_CLI, PULUMI_LANGUAGE)
PULUMI_PLUGINS = (PULUMI_COMMAND, PULUMI_KUBERNETES)

PLUGINS = {"command": ("1.2.1", PULUMI_COMMAND), "kubernetes": ("4.29.0", PULUMI_KUBERNETES)}
"""Provider plugins: the version that the Python SDK asks for, and the tool that serves it."""

# No release of NVIDIA's charts: they are published in an OCI registry, and are copied out of the Go
# module instead, which takes Go to fetch, but nothing is compiled.
PULUMI_RELEASE = Release(
    "pulumi",
    PULUMI_VERSION,
    (
        Asset(
            "https://get.pulumi.com/releases/sdk/pulumi-v{version}-{os}-{x64}.tar.gz",
            "https://get.pulumi.com/releases/sdk/pulumi-{version}-checksums.txt",
            {
                name: f"pulumi/{name}"
                for name in ("pulumi", "pulumi-language-python", "pulumi-language-python-exec")
            },
        ),
    ),
    # It gets its plugins by itself.
    (*PULUMI_PROGRAMS, *PULUMI_PLUGINS),
)
_DL_K8S = "https://dl.k8s.io/v{version}/bin/{os}/{arch}"
KUBERNETES_RELEASE = Release(
    "kube",
    KUBERNETES_VERSION,
    tuple(
        Asset(f"{_DL_K8S}/{name}", f"{_DL_K8S}/{name}.sha256", {name: ""})
        for name in KUBERNETES.aliases["kube"]
    ),
    (KUBERNETES,),
    systems=("linux",),
)
_ETCD = "https://github.com/etcd-io/etcd/releases/download/v{version}"
ETCD_RELEASE = Release(
    "etcd",
    ETCD.version,
    (
        Asset(
            f"{_ETCD}/etcd-v{{version}}-{{os}}-{{arch}}.{{archive}}",
            f"{_ETCD}/SHA256SUMS",
            {"etcd": "etcd-v{version}-{os}-{arch}/etcd"},
        ),
    ),
    (ETCD,),
    on_path="3.6",
)
# kwok's releases have no file of checksums; GitHub says those of the files that it was given.
KWOK_RELEASE = Release(
    "kwok",
    KWOK.version,
    tuple(
        Asset(
            "https://github.com/kubernetes-sigs/kwok/releases/download/v{version}"
            f"/{name}-{{os}}-{{arch}}",
            "https://api.github.com/repos/kubernetes-sigs/kwok/releases/tags/v{version}",
            {name: ""},
        )
        for name in KWOK.programs
    ),
    (KWOK,),
)
RELEASES = (KWOK_RELEASE, ETCD_RELEASE, KUBERNETES_RELEASE, PULUMI_RELEASE)

# --- a host node: this machine as a node of a cluster, without Docker and without a registry -----
# Their minutes were measured beside other builds, so they are rather too high.

KUBELET = GoTool(
    "kubelet",
    KUBERNETES_VERSION,
    {"kubelet": "k8s.io/kubernetes/cmd/kubelet"},
    sets=KUBERNETES_SETS,
    minutes=3.7,
)
_CONTAINERD = "github.com/containerd/containerd/v2"
CONTAINERD = GoTool(
    "containerd",
    "2.4.2",
    {
        name: f"{_CONTAINERD}/cmd/{name}"
        for name in ("containerd", "containerd-shim-runc-v2", "ctr")
    },
    sets={f"{_CONTAINERD}/version.Version": "v2.4.2"},
    minutes=1.9,
)
RUNC = GoTool(
    "runc",
    "1.4.3",
    {"runc": "github.com/opencontainers/runc"},
    # Static, with the flags and tags of runc's own Makefile, so that it does not matter which
    # libseccomp a machine has.
    cgo=Cgo(
        links=("-static",),
        tags=("seccomp", "netgo", "osusergo"),
        libraries={"libseccomp": "libseccomp-dev"},
    ),
    minutes=0.4,
)
_CNI = "github.com/containernetworking/plugins"
CNI_PLUGINS = GoTool(
    "cni-plugins",
    "1.9.1",
    {
        name: f"{_CNI}/plugins/{kind}/{name}"
        for name, kind in (("bridge", "main"), ("loopback", "main"), ("host-local", "ipam"))
    },
    sets={f"{_CNI}/pkg/utils/buildversion.BuildVersion": "v1.9.1"},
    into="cni",
    minutes=0.2,
)
# The driver's libraries are opened when they are needed and are not there when this is linked;
# the flags are those of the Makefile of NVIDIA's toolkit.
_NVIDIA_CGO = Cgo(
    links=(
        "-Wl,--export-dynamic",
        "-Wl,--unresolved-symbols=ignore-in-object-files",
        "-Wl,-z,lazy",
    )
)
_NVIDIA_TOOLKIT = "github.com/NVIDIA/nvidia-container-toolkit"
NVIDIA_TOOLKIT = GoTool(
    "nvidia-container-toolkit",
    "1.19.1",
    {name: f"{_NVIDIA_TOOLKIT}/cmd/{name}" for name in ("nvidia-ctk", "nvidia-cdi-hook")},
    sets={f"{_NVIDIA_TOOLKIT}/internal/info.version": "1.19.1"},
    cgo=_NVIDIA_CGO,
    minutes=0.9,
)
NODE_PROXY = GoTool("node-proxy", "1", {"node-proxy": "."}, minutes=0.1)

# What follows goes into images only (toolchain/images.py).
DRIVER_MODULE = "sigs.k8s.io/dra-driver-nvidia-gpu"
DRIVER_PLUGIN = GoTool(
    "dra-kubelet-plugin",
    DRIVER_PLUGIN_VERSION,
    {"gpu-kubelet-plugin": f"{DRIVER_MODULE}/cmd/gpu-kubelet-plugin"},
    sets={f"{DRIVER_MODULE}/internal/info.version": f"v{DRIVER_PLUGIN_VERSION}"},
    files={
        "kubelet-plugin-prestart.sh": (DRIVER_MODULE, "hack/kubelet-plugin-prestart.sh"),
        "templates": (DRIVER_MODULE, "templates"),
        "LICENSE": (DRIVER_MODULE, "LICENSE"),
    },
    cgo=_NVIDIA_CGO,
    minutes=1.9,
)
PAUSE = GoTool("pause", "1", {"pause": "."}, minutes=0.1)

KUBELET_RELEASE = Release(
    "kubelet",
    KUBERNETES_VERSION,
    (Asset(f"{_DL_K8S}/kubelet", f"{_DL_K8S}/kubelet.sha256", {"kubelet": ""}),),
    (KUBELET,),
    systems=("linux",),
)
_CONTAINERD_FILE = (
    "https://github.com/containerd/containerd/releases/download/v{version}"
    "/containerd-static-{version}-{os}-{arch}.tar.gz"
)
CONTAINERD_RELEASE = Release(
    "containerd",
    CONTAINERD.version,
    (
        Asset(
            _CONTAINERD_FILE,
            f"{_CONTAINERD_FILE}.sha256sum",
            {name: f"bin/{name}" for name in CONTAINERD.programs},
        ),
    ),
    (CONTAINERD,),
    systems=("linux",),
)
_RUNC = "https://github.com/opencontainers/runc/releases/download/v{version}"
RUNC_RELEASE = Release(
    "runc",
    RUNC.version,
    (Asset(f"{_RUNC}/runc.{{arch}}", f"{_RUNC}/runc.sha256sum", {"runc": ""}),),
    (RUNC,),
    systems=("linux",),
)
_CNI_FILE = (
    "https://github.com/containernetworking/plugins/releases/download/v{version}"
    "/cni-plugins-{os}-{arch}-v{version}.tgz"
)
CNI_RELEASE = Release(
    "cni-plugins",
    CNI_PLUGINS.version,
    (Asset(_CNI_FILE, f"{_CNI_FILE}.sha256", {n: f"./{n}" for n in CNI_PLUGINS.programs}),),
    (CNI_PLUGINS,),
    systems=("linux",),
    into="cni",
)
HOST_TOOLS = (
    *(KUBELET, CONTAINERD, RUNC, CNI_PLUGINS, NVIDIA_TOOLKIT, NODE_PROXY),
    *(DRIVER_PLUGIN, PAUSE),
)
HOST_RELEASES = (RUNC_RELEASE, CNI_RELEASE, CONTAINERD_RELEASE, KUBELET_RELEASE)
HOST_BUILT = (NVIDIA_TOOLKIT, NODE_PROXY)
"""Tools of a host node that are always built. NVIDIA releases its toolkit as packages of Linux
distributions and as an image only."""

# --- kind: a cluster whose nodes are containers ---------------------------------------------------

KIND = GoTool("kind", "0.33.0", {"kind": "sigs.k8s.io/kind"}, minutes=0.3)
_KIND_FILE = "https://github.com/kubernetes-sigs/kind/releases/download/v{version}/kind-{os}-{arch}"
KIND_RELEASE = Release(
    "kind",
    KIND.version,
    (Asset(_KIND_FILE, f"{_KIND_FILE}.sha256sum", {"kind": ""}),),
    (KIND,),
    # Its configuration has not changed since then, and this one knows kubeadm's v1beta4.
    oldest="0.32.0",
)
EXAMPLE_DRIVER_VERSION = "0.4.0"
EXAMPLE_MODULE = "sigs.k8s.io/dra-example-driver"
EXAMPLE_CHART_NAME = "dra-example-driver"
EXAMPLE_DRIVER = GoTool(
    "dra-example-plugin",
    EXAMPLE_DRIVER_VERSION,
    {"dra-example-kubeletplugin": f"{EXAMPLE_MODULE}/cmd/dra-example-kubeletplugin"},
    sets={"main.version": f"v{EXAMPLE_DRIVER_VERSION}"},
    minutes=1.0,
)
EXAMPLE_CHART = GoTool(
    "dra-example-chart",
    EXAMPLE_DRIVER_VERSION,
    {},
    files={EXAMPLE_CHART_NAME: (EXAMPLE_MODULE, f"deployments/helm/{EXAMPLE_CHART_NAME}")},
)
KIND_TOOLS = (KIND, EXAMPLE_DRIVER, EXAMPLE_CHART)
"""What `make setup-kind` adds besides images. None of it has C in it or takes root."""
KIND_RELEASES = (KIND_RELEASE,)
KIND_BUILT = (EXAMPLE_DRIVER,)
"""Tools for kind that are always built. The example driver is released as an image only."""
KIND_CHARTS = (EXAMPLE_CHART,)
