"""Settings of the cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from components.settings.parsers import listed, one_of, pairs, text, version
from components.settings.setting import setting
from machine import kind_images

CLUSTERS = ("embedded", "kind", "existing")
KUBERNETES = "1.36.4"
GATE = re.compile(r"[A-Z][A-Za-z0-9]*=(true|false)")
API = re.compile(r"[a-z0-9.-]+(/[a-z0-9]+){1,2}=(true|false)")


def _version(value: str, _: Any) -> str:
    return str(version(value))


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """kubernetes_version: without a leading "v"; kubeconfig: of an existing cluster, "" for
    kubectl's own choice."""

    cluster: str = setting(
        "cluster",
        default="embedded",
        meaning="Where the lab runs. embedded: a real control plane as processes of this "
        "user, without containers. kind: containers of Docker. existing: a cluster that is "
        "there, see context.",
        parse=one_of(CLUSTERS),
    )
    kubernetes_version: str = setting(
        "kubernetesVersion",
        default=KUBERNETES,
        meaning=f"Version of Kubernetes. The embedded cluster has {KUBERNETES}; kind has "
        f"images of {listed(kind_images.DIGESTS, 'and')}.",
        parse=_version,
    )
    feature_gates: tuple[str, ...] = setting(
        "featureGates",
        default=(),
        meaning="Kubernetes feature gates, each as Name=true or Name=false.",
        parse=pairs(GATE, "each is Name=true or Name=false"),
    )
    runtime_config: tuple[str, ...] = setting(
        "runtimeConfig",
        default=(),
        meaning="APIs to switch, each as group/version=true or group/version=false.",
        parse=pairs(API, "each is group/version=true or group/version=false"),
    )
    kubeconfig: str = setting(
        "kubeconfig",
        default="",
        meaning="Kubeconfig of the existing cluster; empty: $KUBECONFIG, else "
        "~/.kube/config. It is only read.",
        parse=text,
        only="cluster=existing",
    )
    context: str = setting(
        "context",
        default="",
        meaning="Context of the existing cluster; it is never guessed.",
        parse=text,
        only="cluster=existing",
    )
