"""The configuration of the host node's daemons: containerd, CNI and the kubelet. All of it lies in
folders of ours: an installed containerd or kubelet, and its containers, are not touched."""

import base64
import json
import warnings
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.utils import CryptographyDeprecationWarning

from machine import certificates
from machine import host_places as places
from machine.host_networks import Networks
from toolchain import images

CONTAINERD = places.STATE / "containerd.toml"
CNI = places.STATE / "cni"
KUBELET = places.STATE / "kubelet.yaml"
KUBECONFIG = places.STATE / "kubeconfig"
AUTHORITY = places.STATE / "ca.crt"
SOCKET = places.RUNTIME / "containerd.sock"
LOGS = places.STATE / "logs"
LABELS = {"nvidia.com/gpu.present": "true"}
"""One of those that the chart's node affinity asks for."""

CONTAINERD_TOML = """\
version = 3
# Else it makes /opt/containerd.
disabled_plugins = ["io.containerd.internal.v1.opt"]
root = "{state}/containerd"
state = "{runtime}/containerd"

[grpc]
address = "{socket}"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{pause}"

[plugins.'io.containerd.cri.v1.runtime']
# Inside a container or a small virtual machine these may not be lowered, or not be there.
restrict_oom_score_adj = true
tolerate_missing_hugetlb_controller = true
netns_mounts_under_state_dir = true
cdi_spec_dirs = ["/etc/cdi", "/var/run/cdi"]

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["{bin}"]
conf_dir = "{cni}"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "{bin}/runc"
Root = "{runtime}/runc"
SystemdCgroup = false
"""


def write(server: str, pki: Path, networks: Networks) -> None:
    """Write all of them. server: URL of the API server; pki: folder with its ca.crt and ca.key."""
    CNI.mkdir(parents=True, exist_ok=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    CONTAINERD.write_text(containerd())
    (CNI / "10-pods.conflist").write_text(json.dumps(network(networks), indent=2) + "\n")
    AUTHORITY.write_bytes((pki / "ca.crt").read_bytes())
    KUBELET.write_text(yaml.safe_dump(kubelet(networks)))
    KUBECONFIG.touch(mode=0o600)
    KUBECONFIG.write_text(yaml.safe_dump(kubeconfig(server, pki)))


def containerd() -> str:
    own = {"state": places.STATE, "runtime": places.RUNTIME, "bin": places.BIN}
    return CONTAINERD_TOML.format(**own, socket=SOCKET, cni=CNI, pause=images.PAUSE_IMAGE)


def network(networks: Networks) -> dict[str, Any]:
    """CNI: a bridge for the pods, through which they reach each other and the node."""
    addresses = {
        "type": "host-local",
        "dataDir": str(CNI / "networks"),
        "ranges": [[{"subnet": networks.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": places.POD_BRIDGE, "isGateway": True, "ipMasq": False}
    plugins = [bridge | {"ipam": addresses}]
    return {"cniVersion": "1.0.0", "name": places.NETWORK, "plugins": plugins}


def kubelet(networks: Networks) -> dict[str, Any]:
    """KubeletConfiguration. What is switched off would change the machine or needs tools that it
    may not have: iptables, swap settings, systemd's cgroups, removing images."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": networks.node_address,
        "port": places.KUBELET_PORT,
        "readOnlyPort": 0,
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(AUTHORITY)},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{places.CGROUP}",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "enforceNodeAllocatable": [],
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
        "failCgroupV1": False,
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,
        "localStorageCapacityIsolation": False,
        "makeIPTablesUtilChains": False,
        "oomScoreAdj": 0,
        "podLogsDir": str(places.STATE / "pods"),
        "protectKernelDefaults": False,
        "resolvConf": "",
        "volumePluginDir": str(places.STATE / "volume-plugins"),
    }


def kubeconfig(server: str, pki: Path) -> dict[str, Any]:
    """For the kubelet, with a certificate of its own: the API server lets a node do only what
    concerns its pods."""
    certificate, key = (base64.b64encode(part).decode() for part in node_certificate(pki))
    user = {"client-certificate-data": certificate, "client-key-data": key}
    cluster = {"server": server, "certificate-authority": str(AUTHORITY)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "node",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": "node", "user": user}],
        "contexts": [{"name": "node", "context": {"cluster": "lab", "user": "node"}}],
    }


def node_certificate(pki: Path) -> tuple[bytes, bytes]:
    """Certificate and key of the node, as PEM, signed by the cluster's authority, with the names by
    which the API server knows a node (Kubernetes: Node authorization)."""
    with warnings.catch_warnings():  # kwokctl numbers its authority 0
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        authority = x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes())
    signer: Any = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), None)
    return certificates.issue(
        f"CN=system:node:{places.NODE},O=system:nodes",
        certificates.CLIENT,
        authority=certificates.Authority(authority.subject, signer),
    )


def commands(server_address: str, networks: Networks) -> dict[str, list[str]]:
    """The daemons in the order in which they start: name → its command line. server_address:
    host:port of the API server."""
    return {
        "containerd": [str(places.BIN / "containerd"), "--config", str(CONTAINERD)],
        "node-proxy": [str(places.BIN / "node-proxy"), f"{networks.api}:443", server_address],
        "kubelet": [
            str(places.BIN / "kubelet"),
            f"--config={KUBELET}",
            f"--kubeconfig={KUBECONFIG}",
            f"--hostname-override={places.NODE}",
            f"--node-ip={networks.node_address}",
            f"--root-dir={places.KUBELET}",
            f"--cert-dir={places.STATE / 'certificates'}",
            "--node-labels=" + ",".join(f"{key}={value}" for key, value in LABELS.items()),
        ],
    }
