"""Module 3: a claim owns its GPU until its pod is released; the next claim waits, then gets it.

Parameters: kubeconfig, namespace, driver, uuid (the GPU that both claims name), devices (what
they are).

The check releases the pods, so it can look once at them; when it has to run again the update
makes fresh ones first. At the end nothing holds the GPU.
"""

from typing import Any

from checks import pod_scenario
from checks.pod_scenario import TAKEN, PodCheck, PodScenario
from checks.result import CheckFailed
from checks.steps import Step
from kube.devices import MOCK, MOCKED
from machine.errors import LabError

PERMISSIONS = pod_scenario.PERMISSIONS
CONTROL_FILES = {"nvidiactl", "nvidia-uvm", "nvidia-uvm-tools"}
"""Of the driver, not of a GPU: every pod with a GPU needs them."""
LIBRARIES, VISIBLE = ("libcuda", "libnvidia-ml"), "NVIDIA_VISIBLE_DEVICES"
"""What NVIDIA's CDI specs bring; the variable tells its container runtime to bring no more."""


class HandOver(PodScenario):
    """pod-1 has the GPU and pod-2 waits for it; a third pod has no claim."""

    pods = ("pod-1", "pod-2", "unclaimed")

    def device_through_cdi(self) -> str:
        """A mock has no device file: its driver puts its name into the container's environment."""
        (mock,) = (device.name for device in self.published() if device.uuid == self.uuid)
        self.running("unclaimed")
        for name, expected in (("pod-1", [mock]), ("pod-2", [mock]), ("unclaimed", [])):
            found = self.output(name)["mocks"]
            if found != expected:
                raise CheckFailed(f"{name}: {', '.join(found) or 'no device'}")
        return f"pod-1 and pod-2: {mock}, a pod without a claim: none"

    def device_in_pod(self) -> str:
        for name in ("pod-1", "pod-2"):
            output = self.output(name)
            found = [gpu["uuid"] for gpu in output["gpus"]]
            if found != [self.uuid]:
                why = output.get("error", "")
                raise CheckFailed(f"{name}: {', '.join(found) or 'no GPU'}{why and f' ({why})'}")
        return f"pod-1 and pod-2: {self.uuid}"

    def device_files(self) -> str:
        texts = []
        for name in ("pod-1", "pod-2"):
            output = self.output(name)
            files = set(output["device_files"])
            texts.append(f"{name}: {', '.join(sorted(files))}")
            if files != CONTROL_FILES | {f"nvidia{gpu['minor']}" for gpu in output["gpus"]}:
                raise CheckFailed(texts[-1])
        return "; ".join(texts)

    def cdi_spec(self) -> str:
        """That the driver's libraries are mounted, as the image has none."""
        texts = []
        for name in ("pod-1", "pod-2"):
            output = self.output(name)
            visible = [f"{k}={v}" for k, v in output["environment"].items() if k == VISIBLE]
            brought = [*output["libraries"], *visible]
            texts.append(f"{name}: {', '.join(brought) or 'nothing'}")
            mounted = all(
                any(n.startswith(each) for n in output["libraries"]) for each in LIBRARIES
            )
            if not (mounted and visible):
                raise CheckFailed(texts[-1])
        return "; ".join(texts)

    def nothing_without_claim(self) -> str:
        self.running("unclaimed")
        output = self.output("unclaimed")
        loaded = ["libcuda"] if output["libcuda"] else []
        if seen := [*output["device_files"], *output["libraries"], *loaded]:
            raise CheckFailed(", ".join(seen))
        return "no device file, no libcuda"

    def started(self) -> dict[str, Any]:
        """How long each pod took to run its program; where one did not, its step failed."""
        try:
            return self.starts({name: self.output(name) for name in self.pods})
        except LabError as error:
            return {"skipped": str(error)}


STEPS: tuple[Step[HandOver], ...] = (
    Step("pod-1-running", "pod-1 runs", lambda s: s.running("pod-1"), "Running"),
    Step("claim-1-allocated", "its claim has the GPU that it names",
         lambda s: s.allocated("claim-1"), lambda s: s.uuid, needs="pod-1-running"),
    Step("pod-2-unschedulable", "pod-2, whose claim names the same GPU, has to wait for it",
         lambda s: s.refused("pod-2"), f"Unschedulable: {TAKEN}", needs="claim-1-allocated"),
    Step("claim-2-unallocated", "its claim has no device",
         lambda s: s.unallocated("claim-2"), "pending", needs="pod-2-unschedulable"),
    Step("pod-1-released", "pod-1 ends when it is released",
         lambda s: s.release("pod-1"), "Succeeded", needs="claim-2-unallocated"),
    Step("hand-over", "pod-2 runs as soon as the GPU is free",
         lambda s: s.running("pod-2"), "Running", needs="pod-1-released"),
    Step("same-device", "its claim has the very GPU that pod-1 had",
         lambda s: s.allocated("claim-2"), lambda s: s.uuid, needs="hand-over"),
    Step("claim-1-free", "the first claim holds nothing any more",
         lambda s: s.unallocated("claim-1"), "pending", needs="hand-over"),
    Step("device-through-cdi",
         "each pod is told of the device of its claim, and of no other, by its CDI spec",
         HandOver.device_through_cdi, "the device of its claim",
         needs="hand-over", when=lambda s: s.devices == MOCK),
    Step("device-in-pod", "each pod sees exactly the GPU of its claim",
         HandOver.device_in_pod, lambda s: f"pod-1 and pod-2: {s.uuid}",
         needs="hand-over", least=MOCKED),
    Step("device-files", "each pod has the device file of that GPU and of no other",
         HandOver.device_files, "nvidiaN of that GPU, " + ", ".join(sorted(CONTROL_FILES)),
         needs="device-in-pod", least=MOCKED),
    Step("cdi-spec", "NVIDIA's CDI spec brings the driver's libraries and a variable into each pod",
         HandOver.cdi_spec, ", ".join((*LIBRARIES, VISIBLE)),
         needs="device-in-pod", least=MOCKED),
    Step("nothing-without-claim", "a pod without a claim sees no GPU and no CUDA",
         HandOver.nothing_without_claim, "no device file, no libcuda",
         needs="pod-1-running", least=MOCKED),
    Step("gpu-free", "when the last pod has ended nothing holds the GPU",
         lambda s: s.freed(["pod-2"], "claim-2"), "pending", needs="same-device"),
)  # fmt: skip
CHECK = PodCheck(scenario=HandOver, steps=STEPS, benchmarks={"pod-start": HandOver.started})
run = CHECK.run
