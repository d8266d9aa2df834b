"""NVIDIA's driver on this machine over mocked GPUs: what it publishes, prepares and takes back."""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from components.drivers import feature_gates
from faults import engine
from faults.__main__ import read_parameters
from faults.catalogue import FAULTS
from faults.objects import LABEL
from faults.scene import Scene
from kube.client import Kube
from machine import host_node as machine_node
from operations.host_node.node import DRIVER_ROOT
from tests.checkout import Checkout
from tests.faults import lab
from tests.node.test_host_node import POD
from tests.unit.fake_kube import findings
from toolchain.mocked_driver import root

STACK = "module4"
SETTINGS = {"node": "host", "gpus": "mocked", "mps": "both", "modules[0]": "3", "modules[1]": "4"}
TAINT_SECONDS = 10
SHARING = 3
"""Claims, of which two GPUs could have only two if each had one."""
PREPARE_SECONDS = 60
CLAIM: dict[str, Any] = {
    "apiVersion": "resource.k8s.io/v1",
    "kind": "ResourceClaim",
    "spec": {
        "devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu.nvidia.com"}}]}
    },
}
STAYS = ["python3", "-c", "import time; time.sleep(3600)"]
MPS = {
    "opaque": {
        "driver": "gpu.nvidia.com",
        "parameters": {
            "apiVersion": "resource.nvidia.com/v1beta1",
            "kind": "GpuConfig",
            "sharing": {"strategy": "MPS"},
        },
    }
}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """Modules 3 and 4 on a host node with two mocked GPUs, for all tests; it leaves nothing."""
    checkout = Checkout.make(tmp_path_factory.mktemp("mocked") / "checkout")
    checkout.stack(STACK)
    for key, value in SETTINGS.items():
        checkout.configure(STACK, key, value)
    try:
        lab.require_passed(checkout, STACK)
        yield checkout
    finally:
        lab.require_clean_destroy(checkout, STACK)
        assert machine_node.leftovers() == []


def test_what_can_be_shown_without_silicon_passes(host: Checkout) -> None:
    outputs = host.outputs(STACK)
    checks = [each for result in outputs["verification"].values() for each in result["checks"]]
    assert {each["basis"] for each in checks} == {"real", "mocked"}
    assert outputs["basis"]["mocked"] > outputs["basis"]["simulated"] == 0
    assert outputs["simulated"] == "partly"
    needs_silicon = [each["found"] for each in checks if "GPU" in each["found"]]
    assert "needs a GPU: this node's GPUs are mocked" in needs_silicon
    assert host.preview(STACK, "--expect-no-changes").code == 0


def test_a_broken_lab_comes_back_and_every_check_passes_again(host: Checkout) -> None:
    done = host.run(".venv/bin/python", "-m", "faults", "--stack", STACK, "--fault", "mps-daemon")

    assert done.code == 0, done.text
    assert "none failed" in done.text
    (kept,) = (host.folder / ".results" / STACK / "faults").glob("*-mps-daemon.json")
    found = findings(json.loads(kept.read_text()))
    assert {each["basis"] for each in found.values()} == {"mocked"}
    assert found["daemon-back"]["seconds"] > 0
    assert "set_default_active_thread_percentage 50" in found["limits"]["found"]
    assert found["one-ends"]["found"] == "needs a GPU: this node's GPUs are mocked"
    assert left_of_faults(host) == ""


def test_a_new_claim_waits_for_a_killed_plugin(
    host: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the pod that is left alone: the kubelet looks at that a minute later."""
    monkeypatch.chdir(host.folder)
    whole = FAULTS["plugin"]
    fault = replace(whole, sights=tuple(each for each in whole.sights if each.id != "new-runs"))
    parameters = read_parameters(STACK)
    scene = Scene(Kube(parameters["kubeconfig"]), parameters, fault, STACK)

    result = engine.run(fault, scene)

    assert result["status"] == "passed", result["checks"]
    found = findings(result)
    assert "Failed to prepare dynamic resources" in found["new-waits"]["found"]
    assert found["touched-runs"]["seconds"] >= found["plugin-back"]["seconds"]
    assert found["slices"]["found"] == "2 of 2 published at every look"
    assert left_of_faults(host) == ""


def left_of_faults(host: Checkout) -> str:
    kinds = "pods,resourceclaims,configmaps"
    asked = ("get", kinds, "-A", "-l", LABEL, "-o", "name")
    return host.kubectl(STACK, *asked).text.strip()


def test_a_lost_gpu_is_tainted_and_new_claims_avoid_it(host: Checkout) -> None:
    root.report_xid(DRIVER_ROOT, 1, 79)

    reported = time.monotonic()
    while not (taints := tainted(host)) and time.monotonic() < reported + TAINT_SECONDS:
        time.sleep(0.2)
    assert [*taints] == ["gpu-1"]
    assert "79" in json.dumps(taints)
    apply(host, "first")
    wait_for(host, "pod/first", "condition=Ready")
    apply(host, "second")
    wait_for(host, "pod/second", "jsonpath={.status.conditions[0].reason}=Unschedulable")
    claims = json.loads(host.kubectl(STACK, "get", "resourceclaims", "-o", "json").text)["items"]
    allocations = [each.get("status", {}).get("allocation") for each in claims]
    assert [each["devices"]["results"][0]["device"] for each in allocations if each] == ["gpu-0"]
    remove(host, "first", "second")


def test_a_driver_that_was_left_with_shares_is_set_back_by_the_next_update(host: Checkout) -> None:
    """As after an update that broke off while it measured with them."""
    share(host)
    assert all(device["allowMultipleAllocations"] for device in published(host))
    pods = [f"part-{number}" for number in range(SHARING)]
    for name in pods:
        apply(host, name)
    for name in pods:
        wait_for(host, f"pod/{name}", "condition=Ready")
    remove(host, *pods)

    lab.require_passed(host, STACK)
    assert not any("allowMultipleAllocations" in device for device in published(host))
    assert host.preview(STACK, "--expect-no-changes").code == 0


def share(host: Checkout) -> None:
    """Have the driver run with consumable shares, as a check of module 5 has it."""
    state = json.loads(host.pulumi("stack", "export", "--stack", STACK).text)
    resources = {each["urn"]: each for each in state["deployment"]["resources"]}
    (configured,) = (
        each for urn, each in resources.items() if urn.endswith("driver-as-configured")
    )
    gates = feature_gates("0.5.0", "unlimited")
    told = json.loads(configured["inputs"]["stdin"]) | {
        "gates": gates, "shares": "unlimited", "start_id": "", "run": "broken-off",
        "webhook_gates": ",".join(f"{gate}=true" for gate in gates),
    }  # fmt: skip
    path = host.folder / "share.json"
    path.write_text(json.dumps(told))
    done = host.run("sh", "-c", f".venv/bin/python -m operations driver-profile < {path}")
    assert done.code == 0, done.text


def published(host: Checkout) -> list[dict[str, Any]]:
    slices = json.loads(host.kubectl(STACK, "get", "resourceslices", "-o", "json").text)["items"]
    return [device for item in slices for device in item["spec"]["devices"]]


def test_what_a_failed_prepare_leaves_is_named(host: Checkout) -> None:
    left = fail_to_prepare(host)

    verified = host.operate("up", "--stack", STACK, "--verify")
    assert verified.code != 0
    released = {each["id"]: each for each in host.outputs(STACK)["verification"]["4"]["checks"]}
    found = released["mps-released"]
    assert found["status"] == "failed"
    for what in ("Deployment mps-control-daemon-", "/var/lib/kubelet/plugins/gpu.nvidia.com/mps/"):
        assert f"{what}{left}" in found["found"]
    assert "/shm" in found["found"]


def fail_to_prepare(host: Checkout) -> str:
    """Have the driver fail to prepare a claim with MPS; returns the claim's uid, when it and its
    pod are gone."""
    control = DRIVER_ROOT / "usr/bin/nvidia-cuda-mps-control"
    kept = control.with_suffix(".kept")
    control.rename(kept)
    shutil.copy2("/bin/false", control)
    try:
        apply(host, "mps", MPS)
        uid = host.kubectl(STACK, "get", "resourceclaim", "mps", "-o", "jsonpath={.metadata.uid}")
        deadline = time.monotonic() + PREPARE_SECONDS
        # The kubelet may have to release the GPU of a claim before first, and says that too.
        while "MPS" not in (told := failed_prepare(host, "mps")):
            assert time.monotonic() < deadline, told
            time.sleep(1)
        remove(host, "mps")
    finally:
        kept.replace(control)
    return uid.text.strip()


def failed_prepare(host: Checkout, pod: str) -> str:
    """What the kubelet says of it, "" as long as it says nothing."""
    selector = f"reason=FailedPrepareDynamicResources,involvedObject.name={pod}"
    asked = ("get", "events", "--field-selector", selector, "-o", "jsonpath={..message}")
    return host.kubectl(STACK, *asked).text.strip()


def tainted(host: Checkout) -> dict[str, Any]:
    """The devices that have taints, by name."""
    return {device["name"]: device["taints"] for device in published(host) if "taints" in device}


def apply(host: Checkout, name: str, *config: dict[str, Any]) -> None:
    """A pod that stays, with a claim of its own for any GPU, both of that name."""
    claim, pod = copy.deepcopy(CLAIM), copy.deepcopy(POD)
    claim["metadata"] = pod["metadata"] = {"name": name, "namespace": "default"}
    claim["spec"]["devices"]["config"] = [*config]
    spec: Any = pod["spec"]
    spec["terminationGracePeriodSeconds"] = 1  # with 0 it is gone before its claim is released
    spec["resourceClaims"] = [{"name": "gpu", "resourceClaimName": name}]
    for container in spec["containers"]:
        container |= {"resources": {"claims": [{"name": "gpu"}]}, "command": STAYS}
    path = host.folder / f"{name}.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [claim, pod]}))
    done = host.kubectl(STACK, "apply", "-f", str(path))
    assert done.code == 0, done.text


def remove(host: Checkout, *names: str) -> None:
    for kind in ("pod", "resourceclaim"):
        done = host.kubectl(STACK, "delete", kind, *names, "--timeout=60s")
        assert done.code == 0, done.text


def wait_for(host: Checkout, what: str, condition: str) -> None:
    done = host.kubectl(STACK, "wait", what, f"--for={condition}", "--timeout=60s")
    assert done.code == 0, host.kubectl(STACK, "describe", what).text
