"""The settings that kwokctl takes from a file, as it has no option for them.

By default it listens on every address, and whoever reaches etcd may read and write all that is on
the cluster: with a real node, as root. So all listen on loopback only, etcd serves nobody but the
administrator's certificate, and the others tell strangers no more than that they are well.
"""

from pathlib import Path

import yaml

from machine.host_networks import Networks

FILE = "kwokctl.yaml"
API_VERSION = "config.kwok.x-k8s.io/v1alpha1"
OVERRIDDEN = ("etcd-servers", "authorization-always-allow-paths")
"""Flags that kwokctl gives too, and whose values would add up."""
KWOK = {
    # It would not ask who it is that wants a way into pods, or its profile.
    "enableDebuggingHandlers": False,
    # Its defaults: it has none where it is told anything (0.8.0).
    "cidr": "10.0.0.0/24",
    "podPlayStageParallelism": 4,
    "nodePlayStageParallelism": 4,
    "nodeLeaseParallelism": 4,
    "podsOnNodeSyncParallelism": 1,
    "enablePodsOnNodeSyncListPager": True,
}
FILES = ("ca.crt", "admin.crt", "admin.key")
"""The authority's certificate, the administrator's, and the key to that."""
HEALTH = "/healthz,/readyz,/livez"


def write(folder: Path, ports: dict[str, int], certificates: Path, networks: Networks) -> Path:
    """Write it into the cluster's folder. certificates: folder in which kwokctl makes them;
    networks: of the real node that the cluster may have."""
    patches = [
        {
            "name": component,
            "extraArgs": [
                {"key": key, "value": value, "override": key in OVERRIDDEN}
                for key, value in flags.items()
            ],
        }
        for component, flags in arguments(ports, certificates, networks).items()
    ]
    cluster = {
        "apiVersion": API_VERSION,
        "kind": "KwokctlConfiguration",
        # Pods know the API server by its service address.
        "options": {"kubeApiserverCertSANs": [networks.api]},
        "componentsPatches": patches,
    }
    kwok = {"apiVersion": API_VERSION, "kind": "KwokConfiguration", "options": KWOK}
    path = folder / FILE
    path.write_text(yaml.safe_dump_all([cluster, kwok]))
    return path


def arguments(
    ports: dict[str, int], certificates: Path, networks: Networks
) -> dict[str, dict[str, str]]:
    """Component → flag → value."""
    authority, certificate, key = (str(certificates / name) for name in FILES)
    client = f"https://127.0.0.1:{ports['etcd']}"
    # There is one of each, so a scheduler that was started again need not wait for the lease of
    # its killed forerunner to end.
    alone = {
        "bind-address": "127.0.0.1",
        "leader-elect": "false",
        "authorization-always-allow-paths": HEALTH,
    }
    return {
        "etcd": _etcd(client, f"https://127.0.0.1:{ports['etcd-peer']}", certificates),
        "kube-apiserver": {
            "bind-address": "127.0.0.1",
            "anonymous-auth": "false",
            "etcd-servers": client,
            "etcd-cafile": authority,
            "etcd-certfile": certificate,
            "etcd-keyfile": key,
            "service-cluster-ip-range": networks.services,
            # Else it takes the address of the default route, and does not start where there is
            # none.
            "advertise-address": networks.node_address,
            "kubelet-client-certificate": certificate,
            "kubelet-client-key": key,
            "kubelet-preferred-address-types": "InternalIP",
        },
        "kube-controller-manager": alone,
        "kube-scheduler": alone,
        "kwok-controller": {
            "server-address": f"127.0.0.1:{ports['kwok-controller']}",
            # Else it takes every node for one of its own.
            "manage-all-nodes": "false",
            "manage-nodes-with-annotation-selector": "kwok.x-k8s.io/node=fake",
        },
    }


def _etcd(client: str, peer: str, certificates: Path) -> dict[str, str]:
    """client, peer: the URLs at which it listens to the API server and, in vain, to its like."""
    authority, certificate, key = (str(certificates / name) for name in FILES)
    return {
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "cert-file": certificate,
        "key-file": key,
        "trusted-ca-file": authority,
        "client-cert-auth": "true",
        "enable-grpc-gateway": "false",  # it would come without a certificate
        # The same authority signs for real nodes; their certificates hold no host name.
        "client-cert-allowed-hostname": "localhost",
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"node0={peer}",
        "peer-cert-file": certificate,
        "peer-key-file": key,
        "peer-trusted-ca-file": authority,
        "peer-client-cert-auth": "true",
        "peer-cert-allowed-hostname": "localhost",
    }
