"""An image that is of no use is named with the reason, the key and what helps."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from checks import pod_scenario
from checks.modules import exclusive
from checks.prerequisites import existing_gpus
from checks.result import CheckFailed, CheckSkipped
from kube import pods
from machine import cluster_state
from operations.stack import stuck_pods
from tests.unit.checks.modules.test_exclusive import PARAMETERS, PodScenario
from tests.unit.fake_kube import NAMESPACE, UNREACHABLE, findings, pod, pulling
from tests.unit.stage import NODE

IMAGE = "registry.test/python:3"
MISSING = 'failed to resolve reference "registry.test/python:3": not found'
NO_PYTHON = 'exec: "python3": executable file not found in $PATH: unknown'


def held_up(name: str, reason: str, message: str) -> Any:
    found = pod(name, "Pending", on=NODE)
    found.status.container_statuses = [pulling("hold", reason, message, IMAGE)]
    return found


@pytest.mark.parametrize(
    ("reason", "message", "said"),
    [
        ("ErrImagePull", MISSING, f"ErrImagePull: image {IMAGE}: {MISSING}"),
        ("ImagePullBackOff", "", f"ImagePullBackOff: image {IMAGE}"),
        ("InvalidImageName", "no", f"InvalidImageName: image {IMAGE}: no"),
        ("RunContainerError", NO_PYTHON, f"image {IMAGE} has no python3"),
    ],
)
def test_the_check_tells_it_with_the_key_and_what_helps(
    monkeypatch: pytest.MonkeyPatch, reason: str, message: str, said: str
) -> None:
    scenario = PodScenario().stand_in(monkeypatch, pod_scenario)
    scenario.pods[0] = held_up("pod-1", reason, message)
    found = findings(exclusive.run("3", PARAMETERS))["pod-1-running"]
    assert found["status"] == "failed"
    assert said in found["found"]
    assert f"SET='{pods.IMAGE_KEY}=REGISTRY/NAME@sha256:DIGEST'" in found["remedy"]
    assert NODE in found["remedy"]


def test_a_container_that_is_only_being_made_is_no_trouble() -> None:
    waiting = held_up("pod-1", "ContainerCreating", "")
    assert pods.describe(waiting) == f"Pending on {NODE}"
    assert pods.image_remedy(waiting) == pods.image_remedy(None) == ""


def test_an_update_that_waited_in_vain_for_a_pod_tells_it_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pulumi waits for pods; where one does not start, no check is run."""
    monkeypatch.chdir(tmp_path)
    scenario = PodScenario()
    monkeypatch.setattr(stuck_pods, "Kube", lambda _: scenario)
    stuck_pods.explain("lab", [NAMESPACE])
    assert capsys.readouterr().err == "", "there is no cluster"
    kubeconfig = cluster_state.RUN / "lab" / cluster_state.KUBECONFIG
    kubeconfig.parent.mkdir(parents=True)
    kubeconfig.touch()
    scenario.pods[0] = held_up("pod-1", "ErrImagePull", MISSING)
    stuck_pods.explain("lab", ["dra-module3", NAMESPACE])
    said = capsys.readouterr().err
    assert said.startswith(f"pod {NAMESPACE}/pod-1: ErrImagePull: image {IMAGE}: {MISSING}; set ")
    assert said.count("\n") == 1
    scenario.refusals = {"*": UNREACHABLE}
    stuck_pods.explain("lab", [NAMESPACE])
    assert capsys.readouterr().err == "", "that it does not answer was told by Pulumi"


PUBLIC = "docker.io/library/python:3.13.15-slim@sha256:" + "2" * 64
LOCAL = "localhost/dra-workshop/workload:1"


def seen_on_node(wanted: str, *names: str) -> str:
    listed = SimpleNamespace(images=[SimpleNamespace(names=[name]) for name in names])
    node = SimpleNamespace(metadata=SimpleNamespace(name=NODE), status=listed)
    device = SimpleNamespace(node=NODE)
    look: Any = SimpleNamespace(given={"workloadImage": wanted}, nodes={NODE: node}, target=device)
    return existing_gpus._image(look)


def test_an_image_of_set_up_has_to_be_on_the_node() -> None:
    assert seen_on_node(LOCAL, "other:1", LOCAL) == LOCAL
    with pytest.raises(CheckFailed, match=f"{NODE} does not list it"):
        seen_on_node(LOCAL, "localhost/dra-workshop/workload:2")


def test_one_of_a_registry_is_pulled() -> None:
    assert seen_on_node(PUBLIC, "docker.io/library/python@sha256:" + "2" * 64) == PUBLIC
    assert seen_on_node("python:3.13", "docker.io/library/python:3.13") == "python:3.13"
    with pytest.raises(CheckSkipped, match="it is pulled when a pod starts there"):
        seen_on_node(PUBLIC)
