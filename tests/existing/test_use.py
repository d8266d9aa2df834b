"""On a cluster of others with a driver: the lab uses it, and refuses what it cannot use."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests import mocks
from tests.checkout import Checkout
from tests.existing.theirs import STACK, TARGET, Theirs, differences, lab, refused

CLAIM = f"""
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {{name: theirs, namespace: somebody}}
spec:
  devices:
    requests:
      - name: gpu
        exactly:
          deviceClassName: gpu.nvidia.com
          selectors:
            - cel: {{expression: 'device.attributes["gpu.nvidia.com"].uuid == "{TARGET}"'}}
---
apiVersion: v1
kind: Pod
metadata: {{name: theirs, namespace: somebody}}
spec:
  resourceClaims: [{{name: gpu, resourceClaimName: theirs}}]
  containers:
    - {{name: holder, image: none, resources: {{claims: [{{name: gpu}}]}}}}
"""
ELSEWHERE = "GPU-00000000-0000-0000-0000-000000000000"


@pytest.fixture(scope="module")
def ours(with_driver: Theirs, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return lab(tmp_path_factory.mktemp("ours") / "lab", with_driver)


def test_the_lab_uses_the_driver_that_is_there(with_driver: Theirs, ours: Checkout) -> None:
    before = with_driver.objects()
    made = ours.up(STACK)
    assert made.code == 0, made.text
    outputs = ours.outputs(STACK)
    assert outputs["status"] == "passed"
    assert outputs["simulated"] == "all"
    assert outputs["cluster"].keys() == mocks.existing(defaultdict(str)).keys()
    assert outputs["driver"]["installed"] is False
    assert outputs["driver"]["version"] == "0.5.0"
    there = differences(before, with_driver.objects())
    assert [line for line in there if "dra-module3" not in line] == []
    unchanged = ours.preview(STACK, "--expect-no-changes")
    assert unchanged.code == 0, unchanged.text

    (ours.folder / ".run" / STACK / "kubeconfig").unlink()
    gone = ours.operate("destroy", "--stack", STACK)
    assert gone.code == 0, gone.text
    assert differences(before, with_driver.objects()) == []


def test_a_target_that_is_not_there(with_driver: Theirs, ours: Checkout) -> None:
    refused(with_driver, ours, "target-published", f"{TARGET} on gpu-node-0",
            target=ELSEWHERE)  # fmt: skip


def test_a_driver_that_is_there_already(with_driver: Theirs, ours: Checkout) -> None:
    refused(with_driver, ours, "dra-driver-nvidia-gpu/dra-driver-nvidia-gpu-kubelet-plugin",
            "set installDriver to false", installDriver="true")  # fmt: skip


def test_a_target_that_another_claim_has(with_driver: Theirs, ours: Checkout) -> None:
    with_driver.kubectl("apply", "-f", "-", given=CLAIM)
    running = "--for=jsonpath={.status.phase}=Running"
    with_driver.kubectl("wait", "pod/theirs", "-n", "somebody", running, "--timeout=30s")
    refused(with_driver, ours, "target-free", "allocated to somebody/theirs")
    with_driver.kubectl("delete", "pod/theirs", "resourceclaim/theirs", "-n", "somebody")


def test_a_namespace_that_is_somebody_elses(with_driver: Theirs, ours: Checkout) -> None:
    with_driver.kubectl("create", "namespace", "dra-module3")
    refused(with_driver, ours, "there, and not of this lab: dra-module3")
    with_driver.kubectl("delete", "namespace", "dra-module3")
