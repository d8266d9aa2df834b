"""The MPS daemon that NVIDIA's driver runs for a claim: its limits, and what remains of it.

How it is started: the driver's templates/mps-control-daemon.tmpl.yaml.
"""

import re
from dataclasses import dataclass
from typing import Any

from checks.result import CheckFailed, CheckSkipped, require
from kube.client import Kube
from kube.devices import Device, allocation_results
from kube.permissions import on
from machine.errors import LabError
from machine.gpu_host import DEFAULT_MODE
from machine.waiting import until

IN_DRIVER = (
    *on("deployments", "list", group="apps", real=True),
    *on("pods", "list", real=True),
    *on("pods/exec", "create", "get", real=True),
)
"""In the driver's namespace. A websocket is a GET; from Kubernetes 1.35 it is a create too."""
SECONDS, LOOK_SECONDS = 15.0, 0.5
PLACES = ("folder ", "mount ")
EXCLUSIVE_MODE = "Exclusive_Process"
UID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
NAME = "mps-control-daemon-"
PLUGIN_CONTAINER = "gpus"
"""Of the chart; beside it there may be one for ComputeDomains."""
LIMIT = re.compile(r"echo (set_default_[^|]+?) +\|")
IN_DRIVER_ROOT = """\
if [ -x /driver-root/bin/sh ] || [ -x /driver-root/usr/bin/sh ]; then
  of_driver() { chroot /driver-root "$@"; }
else
  export PATH="/driver-root/usr/bin:/driver-root/bin:/driver-root/usr/local/bin:$PATH"
  lib=/driver-root/lib64:/driver-root/lib:/driver-root/usr/lib64:/driver-root/usr/lib
  export LD_LIBRARY_PATH="$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  export CUDA_MPS_PIPE_DIRECTORY=/driver-root/tmp/nvidia-mps
  of_driver() { "$@"; }
fi
"""
"""For a pod of the driver: runs a program of the GPU driver as the driver's own pods do."""
LOOK = f"""{IN_DRIVER_ROOT}
of_driver nvidia-smi --query-gpu=uuid,compute_mode --format=csv,noheader
for folder in /var/lib/kubelet/plugins/*/mps/*; do
  if [ -e "$folder" ]; then echo "folder $folder"; fi
done
while read -r _ _ _ _ point _; do
  case "$point" in /var/lib/kubelet/plugins/*/mps/*) echo "mount $point" ;; esac
done < /proc/self/mountinfo
"""
"""For the kubelet plugin's pod, which sees the node's: "UUID, mode" of each GPU, then the folders
and mounts of MPS daemons."""


@dataclass(frozen=True)
class Daemons:
    """Those of the node on which a GPU is.

    namespace: of the driver; plugin: its DaemonSet; gpu: the device; judged: the namespace whose
    claims must leave nothing behind, "" for all.
    """

    kube: Kube
    namespace: str
    plugin: str
    gpu: Device
    judged: str = ""

    def limits(self, claim_uid: str) -> tuple[str, list[str]]:
        """The name of the claim's daemon, and the commands that the driver gives it."""
        prefix = f"{NAME}{claim_uid}-"
        found = [each for each in self._deployments() if each.metadata.name.startswith(prefix)]
        if not found:
            raise CheckFailed(f"no Deployment {prefix}… in {self.namespace}")
        (container,) = found[0].spec.template.spec.containers
        return found[0].metadata.name, LIMIT.findall("\n".join(container.args))

    def require_none_of(self, claim_uid: str) -> str:
        """That the driver runs no daemon for the claim."""
        names = [each.metadata.name for each in self._deployments()]
        found = [name for name in names if name.startswith(f"{NAME}{claim_uid}-")]
        return require(not found, ", ".join(found) or "none")

    def compute_mode(self) -> str:
        return self._read_node()[0]

    def require_mode(self, wanted: str) -> str:
        """That the GPU has that compute mode before long."""

        def look() -> str:
            return require((mode := self.compute_mode()) == wanted, mode)

        return until(SECONDS, CheckFailed, LOOK_SECONDS)(look)

    def require_none_left(self) -> str:
        """That claims which have no device have no daemon, no folder and no mount, and that the GPU
        is everybody's unless a claim has it."""

        def look() -> str:
            found = self._leftovers()
            return require(not found, "; ".join(found) or f"nothing; {DEFAULT_MODE}")

        return until(SECONDS, CheckFailed, LOOK_SECONDS)(look)

    def _leftovers(self) -> list[str]:
        try:
            claims = self.kube.get(self.kube.resource.list_resource_claim_for_all_namespaces).items
        except LabError as error:
            raise CheckSkipped(f"whose daemons there are cannot be seen: {error}") from error
        allocated = {claim.metadata.uid: allocation_results(claim) for claim in claims}
        used = {uid for uid, results in allocated.items() if results}
        judged = {c.metadata.uid for c in claims if c.metadata.namespace == self.judged}

        def unused(name: str) -> bool:
            owners = {*re.findall(UID, name)}
            return not owners & used and (not self.judged or bool(owners & judged))

        mode, places = self._read_node()
        going = [each for each in self._deployments() if not each.metadata.deletion_timestamp]
        names = [each.metadata.name for each in going if each.metadata.name.startswith(NAME)]
        found = [f"Deployment {name}" for name in names if unused(name)]
        found += [place for place in places if unused(place)]
        this = (self.gpu.pool, self.gpu.name)
        held = any((each.pool, each.device) == this for uid in used for each in allocated[uid])
        if mode != DEFAULT_MODE and not held:
            found.append(f"compute mode {mode}")
        return found

    def _read_node(self) -> tuple[str, list[str]]:
        """The GPU's compute mode, and the folders and mounts of daemons."""
        pod = self._plugin_pod()
        lines = self.kube.execute(self.namespace, pod, LOOK, PLUGIN_CONTAINER).splitlines()
        modes = dict(line.split(", ", 1) for line in lines if ", " in line)
        places = [line for line in lines if line.startswith(PLACES)]
        return modes.get(self.gpu.uuid, "unknown"), places

    def _plugin_pod(self) -> str:
        pods = self.kube.get(self.kube.core.list_namespaced_pod, namespace=self.namespace).items
        for pod in pods:
            if pod.spec.node_name == self.gpu.node and pod.metadata.name.startswith(
                f"{self.plugin}-"
            ):
                return str(pod.metadata.name)
        raise CheckFailed(f"no pod of {self.plugin} on {self.gpu.node}")

    def _deployments(self) -> list[Any]:
        lister = self.kube.apps.list_namespaced_deployment
        return list(self.kube.get(lister, namespace=self.namespace).items)
