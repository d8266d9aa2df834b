"""The tools of every lab: Pulumi, the embedded cluster's programs, charts of NVIDIA's driver."""

from __future__ import annotations

from toolchain.tools.tool import Asset, Edit, GoTool, Release

KUBERNETES_VERSION = "1.37.2"
PULUMI_VERSION = "3.259.0"
DRIVER_MODULE = "sigs.k8s.io/dra-driver-nvidia-gpu"
DRIVER_CHARTS = ("0.5.0",)
"""Versions of NVIDIA's DRA driver whose chart set-up copies into `.tools/charts`."""
WEBHOOK_ADDRESS = "DRA_WEBHOOK_ADDRESS"
"""Variable with the address that the webhook, as built here, listens on; unset: on all."""

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
DRA_WEBHOOK = GoTool(
    "dra-webhook",
    DRIVER_CHARTS[0],
    {"dra-webhook": f"{DRIVER_MODULE}/cmd/webhook"},
    sets={f"{DRIVER_MODULE}/internal/info.version": f"v{DRIVER_CHARTS[0]}"},
    # It listens on every address, and no option says otherwise.
    edits=(
        Edit(
            DRIVER_MODULE,
            "cmd/webhook/main.go",
            'Sprintf(":%d"',
            f'Sprintf(os.Getenv("{WEBHOOK_ADDRESS}")+":%d"',
        ),
    ),
    minutes=1.0,
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
        files={CHART: (DRIVER_MODULE, f"deployments/helm/{CHART}")},
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
K8S_FILES = "https://dl.k8s.io/v{version}/bin/{os}/{arch}"
KUBERNETES_RELEASE = Release(
    "kube",
    KUBERNETES_VERSION,
    tuple(
        Asset(f"{K8S_FILES}/{name}", f"{K8S_FILES}/{name}.sha256", {name: ""})
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
BUILT = (DRA_WEBHOOK,)
"""Tools that are always built. NVIDIA releases its webhook as part of an image only."""
