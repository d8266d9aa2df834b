"""The programs of a node, each from where set-up has it, and the images that a node starts with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from toolchain import build
from toolchain.errors import SetupError
from toolchain.tools import (
    CONTAINERD,
    CONTAINERD_RELEASE,
    ETCD,
    ETCD_RELEASE,
    KIND,
    KUBERNETES,
    KUBERNETES_RELEASE,
    KUBERNETES_SETS,
    KUBERNETES_VERSION,
    PAUSE,
    RUNC,
    RUNC_RELEASE,
    GoTool,
    Tool,
)

_CNI = "github.com/containernetworking/plugins"
KUBE_NODE = GoTool(
    "kube-node",
    KUBERNETES_VERSION,
    {"kube-node": ".", "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy"},
    aliases={"kube-node": ("kubelet", "kubeadm", "kubectl")},
    sets=KUBERNETES_SETS,
    minutes=6.0,
)
COREDNS = GoTool("coredns", "1.14.2", {"coredns": "."}, minutes=2.0)
CRICTL = GoTool(
    "crictl",
    "1.36.0",
    {"crictl": "sigs.k8s.io/cri-tools/cmd/crictl"},
    sets={"sigs.k8s.io/cri-tools/pkg/version.Version": "1.36.0"},
    minutes=0.7,
)
NODE_CNI = GoTool(
    "kind-cni",
    "1.9.1",
    {
        name: f"{_CNI}/plugins/{kind}/{name}"
        for name, kind in (
            *(("ptp", "main"), ("loopback", "main"), ("host-local", "ipam")),
            ("portmap", "meta"),
        )
    },
    sets={f"{_CNI}/pkg/utils/buildversion.BuildVersion": "v1.9.1"},
    minutes=0.2,
)
KIND_NET = GoTool("kind-net", "1", {"kind-net": "."}, minutes=0.5)
NODE_FILES = "files"
KIND_FILES = GoTool(
    "kind-node-files",
    KIND.version,
    {},
    files={NODE_FILES: ("sigs.k8s.io/kind", "images/base/files")},
)
OURS = (KUBE_NODE, COREDNS, CRICTL, NODE_CNI, KIND_NET, KIND_FILES)
"""What only a node image is made of."""
SHARED: Mapping[str, tuple[GoTool, Tool | None]] = {
    KUBERNETES.name: (KUBERNETES, KUBERNETES_RELEASE),
    ETCD.name: (ETCD, ETCD_RELEASE),
    CONTAINERD.name: (CONTAINERD, CONTAINERD_RELEASE),
    RUNC.name: (RUNC, RUNC_RELEASE),
    PAUSE.name: (PAUSE, None),
}
"""What other parts of the workshop use too: as it is built, and as it is released."""
TOOLS = (*OURS, *(tool for tool, _ in SHARED.values()))

CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
KIND_NET_IMAGE = f"localhost/dra-workshop/kind-net:{KIND_NET.version}"


def unbuilt() -> list[GoTool]:
    """What must be built before an image can be: in the cache neither as built nor as released."""
    return [tool for tool in TOOLS if _folder(tool) is None]


def program(tool: GoTool, name: str) -> Path:
    """A program in the cache, under the name that a node calls it by.

    Programs that are one file under several names give the same path.
    """
    for candidate in _candidates(tool):
        folder = build.built(candidate)
        if folder is not None:
            return folder / candidate.places[name]
    raise SetupError(f"{tool.title} is not in the cache; run: make kind-node-image")


def node_files() -> Path:
    """kind's own files of a node."""
    return program(KIND_FILES, NODE_FILES)


def _folder(tool: GoTool) -> Path | None:
    found = (build.built(candidate) for candidate in _candidates(tool))
    return next((folder for folder in found if folder is not None), None)


def _candidates(tool: GoTool) -> Sequence[Tool]:
    released = SHARED[tool.name][1] if tool.name in SHARED else None
    return [tool, *([released] if released else [])]
