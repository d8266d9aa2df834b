"""Keeps what happens on this machine away from proxies."""

from __future__ import annotations

import os

LOCAL = ("localhost", "127.0.0.1")


def no_proxy_variables() -> dict[str, str]:
    """NO_PROXY with this machine in it, for `os.environ`.

    Without it gRPC and the client of Kubernetes ask a proxy even for what listens on loopback,
    so that nothing works where one is set.
    """
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    names = [name for name in given.split(",") if name]
    if "*" not in names:
        names += [name for name in LOCAL if name not in names]
    return dict.fromkeys(("no_proxy", "NO_PROXY"), ",".join(names))
