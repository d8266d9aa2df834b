"""What the workshop is built from: one wrapper module a tool, with its version pinned by go.sum.

Every tool has a folder in `toolchain/modules/` whose go.mod and go.sum fix the versions of all
that goes into it. Nothing here asks a registry for a list of versions.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from dataclasses import dataclass, field
from pathlib import Path

MODULES = Path(__file__).resolve().parent / "modules"
KUBERNETES_VERSION = "1.36.4"
PULUMI_VERSION = "3.259.0"
DRIVER_CHARTS = ("0.5.0", "0.4.1")
"""Versions of NVIDIA's DRA driver whose chart set-up lays into `.tools/charts`."""


@dataclass(frozen=True)
class GoTool:
    """A tool that is built from Go modules.

    name: folder under `toolchain/modules/`; version: as the tool itself reports it.
    programs: file name → package that it is built from.
    aliases: program → further names under which it is to be called.
    sets: linker variables (`-X`).
    files: name → (module, path in it) of a file or folder that is taken as it is.
    """

    name: str
    version: str
    programs: dict[str, str]
    aliases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)
    files: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return MODULES / self.name

    @property
    def title(self) -> str:
        return self.name if self.version in self.name else f"{self.name} {self.version}"

    @property
    def digest(self) -> str:
        """Twelve hex digits over all that decides what is built.

        The Go compiler is left out on purpose: its next patch release must not cost a user
        twenty minutes for the same programs.
        """
        content = hashlib.sha256()
        for path in sorted(self.folder.iterdir()):
            content.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        decided = (self.programs, self.sets, self.files, sys.platform, platform.machine())
        content.update(repr(decided).encode())
        return content.hexdigest()[:12]

    @property
    def cache_name(self) -> str:
        return f"{self.name}-{self.version}-{self.digest}"


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
)
PULUMI_LANGUAGE = GoTool(
    "pulumi-language-python",
    "3.187.0",
    {"pulumi-language-python": "github.com/pulumi/pulumi/sdk/python/cmd/pulumi-language-python/v3"},
    sets={_PULUMI_SETS: "v3.187.0"},
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
)
PULUMI_KUBERNETES = GoTool(
    "pulumi-resource-kubernetes",
    "4.29.0",
    {"pulumi-resource-kubernetes": "."},
    sets={"main.version": "4.29.0"},
)
KUBERNETES = GoTool(
    "kube",
    KUBERNETES_VERSION,
    {"kube": "."},
    aliases={"kube": ("kube-apiserver", "kube-controller-manager", "kube-scheduler")},
    sets={
        "k8s.io/component-base/version.gitVersion": f"v{KUBERNETES_VERSION}",
        "k8s.io/component-base/version.gitMajor": KUBERNETES_VERSION.split(".")[0],
        "k8s.io/component-base/version.gitMinor": KUBERNETES_VERSION.split(".")[1],
    },
)
# PyPI ships etcd 3.5.1, which cannot report watch progress: the watches of a control plane of
# Kubernetes 1.36 break on it and are listed again after up to half a minute.
ETCD = GoTool("etcd", "3.6.14", {"etcd": "go.etcd.io/etcd/server/v3"})
KWOK = GoTool(
    "kwok",
    "0.8.0",
    {"kwok": "sigs.k8s.io/kwok/cmd/kwok", "kwokctl": "sigs.k8s.io/kwok/cmd/kwokctl"},
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
CLUSTER_TOOLS = (KWOK, ETCD, KUBERNETES)

PLUGINS = {"command": ("1.2.1", PULUMI_COMMAND), "kubernetes": ("4.29.0", PULUMI_KUBERNETES)}
"""Provider plugins: the version that the Python SDK asks for, and the tool that serves it."""
