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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.checkout import Checkout
from toolchain import build as tools
from toolchain.layout import BIN
from toolchain.mocked_driver import build, root
from toolchain.tools.host_node import DRIVER_PLUGIN

CLUSTER = "plugin"
NODE = "gpu-node-0"
GATES = "MPSSupport=true,TimeSlicingSettings=true"
SECONDS = 30.0
SPECIFICATION = {
    "stack": CLUSTER,
    "kubernetes_version": "1.37.2",
    "feature_gates": [],
    "runtime_config": [],
    "stages": "",
}


@dataclass(frozen=True)
class Plane:
    """A control plane that knows of one node, which nobody runs."""

    checkout: Checkout

    @property
    def kubeconfig(self) -> Path:
        return self.checkout.folder / ".run" / CLUSTER / "kubeconfig"

    def kubectl(self, *arguments: str, given: Any = None) -> str:
        done = subprocess.run(
            [BIN / "kubectl", "--kubeconfig", self.kubeconfig, *arguments], check=False,
            input=None if given is None else json.dumps(given), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def devices(self) -> list[dict[str, Any]]:
        """Those that the plugin publishes, by name."""
        slices = json.loads(self.kubectl("get", "resourceslices", "-o", "json"))["items"]
        found = [device for each in slices for device in each["spec"].get("devices", [])]
        return sorted(found, key=lambda device: int(device["name"].removeprefix("gpu-")))


@contextmanager
def control_plane(checkout: Checkout) -> Iterator[Plane]:
    cluster = [".venv/bin/python", "-m", "operations", "cluster"]
    made = subprocess.run(
        [*cluster, "create"], cwd=checkout.folder, env=checkout.environment(), check=False,
        input=json.dumps(SPECIFICATION), capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    try:
        plane = Plane(checkout)
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
        plane.kubectl("create", "-f", "-", given=node)
        yield plane
    finally:
        checkout.run(*cluster, "down", "--stack", CLUSTER)


@contextmanager
def plugin(plane: Plane, gpus: Sequence[dict[str, Any]]) -> Iterator[Path]:
    """Runs it until it has published these GPUs; the folder has its socket as plugins/…/dra.sock.

    Without a kubelet nothing removes its slices but this.
    """
    # Not pytest's, which is too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="plugin-"))
    for name in ("cdi", "registry", "plugins"):
        (folder / name).mkdir()
    driver = folder / "root"
    root.lay_out(driver, build.built(), [root.MockedGpu(**gpu) for gpu in gpus])
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
                "--healthcheck-port=-1", f"--feature-gates={GATES}",
            ],
            env=os.environ | {"NVIDIA_DRA_SYSFS_ROOT": str(driver / "sys")},
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + SECONDS
        while len(plane.devices()) < len(gpus):
            text = (folder / "log").read_text()
            assert process.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.2)
        yield folder
    finally:
        process.terminate()
        process.wait(20)
        plane.kubectl("delete", "resourceslices", "--all")
        shutil.rmtree(folder)
