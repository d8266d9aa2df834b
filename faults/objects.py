"""What faults make in the namespace of module 4, after the module's own claims and pods."""

import copy
from pathlib import Path
from typing import Any

from checks import removal
from checks.clients import ClientScenario
from checks.pod_scenario import Parameters
from faults.model import Claim, Client, Fault
from kube import devices
from kube.client import Kube

LABEL = "dra-workshop/fault"
"""On all of it; its value is the fault's name."""
PREFIX = "fault-"
"""Of all names."""
MODEL = "own"
"""The claim after which those of faults are made."""
WORKLOADS = Path(__file__).parents[1] / "workloads"
PROGRAMS = ("fault_client", "cuda_driver", "gpu_kernels")
OF_LAB = "DRA_WORKSHOP_"
"""Variables that mark the pods of the lab itself begin so."""
MOST_SECONDS = 600
"""A client ends by then, should this program be killed: others want the GPU."""


class Objects(ClientScenario):
    """Parameters: as of module 4's check."""

    def __init__(self, kube: Kube, parameters: Parameters, fault: Fault) -> None:
        super().__init__(kube, parameters)
        self.fault = fault

    def make(self) -> None:
        """The claims and clients that the fault begins with."""
        self._make_programs()
        for name, claim in self.fault.claims.items():
            self._make_claim(name, claim)
        for name, client in self.fault.clients.items():
            self.start(name, client)

    def start(self, name: str, client: Client) -> None:
        """Make the pod."""
        model = self.kube.get(self.kube.core.read_namespaced_pod, client.model, self.namespace)
        spec = self._copy(model)["spec"]
        spec.pop("nodeName", None)
        spec |= {
            "restartPolicy": client.restart,
            "activeDeadlineSeconds": MOST_SECONDS,
            "terminationGracePeriodSeconds": 1,
        }
        for reference in spec["resourceClaims"]:
            reference["resourceClaimName"] = PREFIX + client.claim
        for volume in spec["volumes"]:
            if "configMap" in volume:
                volume["configMap"]["name"] = f"{PREFIX}programs"
        for container in spec["containers"]:
            program = ["python3", "/workshop/fault_client.py", *client.arguments]
            container["command"] = program
            given = [v for v in container.get("env", []) if not v["name"].startswith(OF_LAB)]
            more = (client.environment or {}).items()
            container["env"] = [*given, *({"name": key, "value": value} for key, value in more)]
        create = self.kube.core.create_namespaced_pod
        self.kube.get(create, self.namespace, {"metadata": self._metadata(name), "spec": spec})

    def clear(self) -> str:
        """Remove all that any fault made, and wait until it is gone."""
        self.end_clients()
        core, resource = self.kube.core, self.kube.resource
        self._remove(
            resource.list_namespaced_resource_claim, resource.delete_namespaced_resource_claim
        )
        self._remove(core.list_namespaced_config_map, core.delete_namespaced_config_map)
        return "nothing is left of it"

    def end_clients(self) -> None:
        """Remove the pods, so that others get the GPU, and wait until they are gone."""
        core = self.kube.core
        self._remove(core.list_namespaced_pod, core.delete_namespaced_pod)

    def _remove(self, lister: Any, delete: Any) -> None:
        removal.remove_labelled(self.kube, self.namespace, LABEL, lister, delete)

    def _make_programs(self) -> None:
        data = {f"{name}.py": (WORKLOADS / f"{name}.py").read_text() for name in PROGRAMS}
        create = self.kube.core.create_namespaced_config_map
        self.kube.get(
            create, self.namespace, {"metadata": self._metadata("programs"), "data": data}
        )

    def _make_claim(self, name: str, wanted: Claim) -> None:
        listed = self.kube.get(
            self.kube.resource.list_namespaced_resource_claim,
            namespace=self.namespace,
            field_selector=f"metadata.name={MODEL}",
        )
        spec = self._copy(listed.items[0])["spec"]
        for request in spec["devices"].get("requests", []) if wanted.other else []:
            for selector in request["exactly"]["selectors"]:
                cel = selector["cel"]
                cel["expression"] = cel["expression"].replace(" == ", " != ")
        if wanted.sharing is not None:
            spec["devices"]["config"] = [devices.gpu_config(wanted.sharing, ["gpu"])]
        body = {"metadata": self._metadata(name), "spec": spec}
        self.kube.get(self.kube.resource.create_namespaced_resource_claim, self.namespace, body)

    def _metadata(self, name: str) -> dict[str, Any]:
        labels = {LABEL: self.fault.name}
        return {"name": PREFIX + name, "namespace": self.namespace, "labels": labels}

    def _copy(self, model: Any) -> dict[str, Any]:
        return copy.deepcopy(dict(self.kube.api.sanitize_for_serialization(model)))
