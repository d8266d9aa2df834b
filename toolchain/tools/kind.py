"""The tools of kind: clusters whose nodes are containers."""

from __future__ import annotations

from toolchain.tools.tool import Asset, GoTool, Release

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
