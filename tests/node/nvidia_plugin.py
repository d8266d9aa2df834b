"""NVIDIA's kubelet plugin over mocked GPUs, as a process beside a control plane without a kubelet.

It publishes and prepares as on a node. What it needs of a node, a folder has.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from components.drivers import values
from kube.devices import DRIVER
from tests.control_plane import Plane
from toolchain import build as tools
from toolchain.layout import BIN
from toolchain.mocked_driver import build, root
from toolchain.tools.host_node import DRIVER_PLUGIN, DRIVER_PLUGIN_VERSION

NODE = "gpu-node-0"
NODE_OBJECT = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": NODE},
    "status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "9"}},
}
DEVICE_CLASS = {
    "apiVersion": "resource.k8s.io/v1",
    "kind": "DeviceClass",
    "metadata": {"name": DRIVER},
    "spec": {"selectors": [{"cel": {"expression": f"device.driver == '{DRIVER}'"}}]},
}
SECONDS = 30.0
SERVICE = "/k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin"
SOCKET = "plugins/gpu.nvidia.com/dra.sock"


def published(plane: Plane) -> list[dict[str, Any]]:
    """The devices that the plugin publishes, by name."""
    slices = json.loads(plane.kubectl("get", "resourceslices", "-o", "json"))["items"]
    found = [device for each in slices for device in each["spec"].get("devices", [])]
    return sorted(found, key=lambda device: int(device["name"].removeprefix("gpu-")))


@contextmanager
def plugin(plane: Plane, gpus: Sequence[dict[str, Any]], shares: str = "") -> Iterator[Path]:
    """Runs it on a node that nobody runs, until it has published these GPUs; the folder has its
    socket as SOCKET. shares: the setting consumableShares."""
    for item in (NODE_OBJECT, DEVICE_CLASS):
        plane.kubectl("create", "-f", "-", given=item)
    # Not pytest's, which is too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="plugin-"))
    for name in ("cdi", "registry", "plugins"):
        (folder / name).mkdir()
    driver = folder / "root"
    root.lay_out(driver, build.built(), [root.MockedGpu(**gpu) for gpu in gpus])
    on = values("nvidia", DRIVER_PLUGIN_VERSION, 0, shares=shares)
    gates = ",".join(f"{gate}={str(value).lower()}" for gate, value in on["featureGates"].items())
    program = tools.built(DRIVER_PLUGIN)
    assert program is not None, "make setup-host builds it"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                program / "gpu-kubelet-plugin", f"--node-name={NODE}", "--image-name=none",
                "--namespace=default", f"--kubeconfig={plane.kubeconfig}",
                f"--cdi-root={folder / 'cdi'}", f"--nvidia-driver-root={driver}",
                f"--container-driver-root={driver}",
                f"--nvidia-cdi-hook-path={BIN / 'nvidia-cdi-hook'}",
                f"--kubelet-registrar-directory-path={folder / 'registry'}",
                f"--kubelet-plugins-directory-path={folder / 'plugins'}",
                "--healthcheck-port=-1", f"--feature-gates={gates}",
                f"--consumable-shares={on.get('consumableShares', 'disabled')}",
            ],
            env=os.environ | {"NVIDIA_DRA_SYSFS_ROOT": str(driver / "sys")},
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + SECONDS
        while len(published(plane)) < len(gpus):
            text = (folder / "log").read_text()
            assert process.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.2)
        yield folder
    finally:
        process.terminate()
        process.wait(20)
        # Without a kubelet nothing else does.
        plane.kubectl("delete", "resourceslices,nodes,deviceclasses", "--all")
        shutil.rmtree(folder)


def prepare(plane: Plane, folder: Path, claim: dict[str, Any]) -> str:
    """Make the claim and a pod for it, which the real scheduler places, and have the plugin prepare
    it as a kubelet does; what it answers, with its error if it refuses."""
    name = claim["metadata"]["name"]
    plane.kubectl("create", "-f", "-", given=claim)
    plane.kubectl("create", "-f", "-", given=_pod(name))
    plane.kubectl("wait", f"resourceclaim/{name}", "--for=jsonpath={.status.allocation}")
    uid = plane.kubectl("get", "resourceclaim", name, "-o", "jsonpath={.metadata.uid}")
    with grpc.insecure_channel(f"unix:{folder / SOCKET}") as channel:
        prepare, unprepare = (
            channel.unary_unary(f"{SERVICE}/{call}", lambda sent: sent, lambda received: received)
            for call in ("NodePrepareResources", "NodeUnprepareResources")
        )
        asked = _field(1, _field(1, "default") + _field(2, uid) + _field(3, name))
        answer: bytes = prepare(asked, timeout=SECONDS)
        unprepare(asked, timeout=SECONDS)
    # There is no kubelet that could end the pod.
    plane.kubectl("delete", "pod", name, "--force", "--grace-period=0")
    plane.kubectl("delete", "resourceclaim", name)
    return answer.decode(errors="replace")


def _pod(name: str) -> dict[str, Any]:
    claims = [{"name": "gpu", "resourceClaimName": name}]
    container = {"name": "c", "image": "none", "resources": {"claims": [{"name": "gpu"}]}}
    spec = {"automountServiceAccountToken": False, "resourceClaims": claims}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": spec | {"containers": [container], "tolerations": [{"operator": "Exists"}]},
    }


def _field(number: int, content: bytes | str) -> bytes:
    """A short field of a protobuf message: no package has kubelet's messages for Python."""
    data = content.encode() if isinstance(content, str) else content
    return bytes([number << 3 | 2, len(data)]) + data
