"""The tools of a host node: this machine as a node of a cluster, without Docker or a registry.

Their minutes were measured beside other builds, so they are rather too high.
"""

from __future__ import annotations

from toolchain.tools.embedded import (
    DRIVER_CHARTS,
    DRIVER_MODULE,
    K8S_FILES,
    KUBERNETES_SETS,
    KUBERNETES_VERSION,
)
from toolchain.tools.tool import Asset, Cgo, GoTool, Release

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
DRIVER_PLUGIN_VERSION = DRIVER_CHARTS[0]
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
    (Asset(f"{K8S_FILES}/kubelet", f"{K8S_FILES}/kubelet.sha256", {"kubelet": ""}),),
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
