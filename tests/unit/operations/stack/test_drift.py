"""What was deleted from a cluster by hand is found by asking for all that the state knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from machine.errors import LabError
from machine.identity import state_of
from operations.stack import drift, half_made
from operations.stack.engine import RELEASE
from tests.unit.scripts import write_script

NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "m", "uid": "1"}}
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "m", "uid": "2"}}
CLASS = {"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "c"}}
ROLE = {"apiVersion": "v1", "kind": "Role", "metadata": {"name": "r", "namespace": "d"}}
DRIVER = {
    "name": "driver",
    "namespace": "d",
    "resourceNames": {"DeviceClass.resource.k8s.io/resource.k8s.io/v1": ["c"], "Role/v1": ["d/r"]},
}


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lab whose state knows a namespace, a pod and a release with two objects."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(drift, "BIN", tmp_path / "bin")
    (tmp_path / ".run/dev").mkdir(parents=True)
    (tmp_path / ".run/dev/kubeconfig").touch()
    resources = [
        {"type": "pulumi:pulumi:Stack"},
        {"type": "kubernetes:core/v1:Namespace", "outputs": NAMESPACE},
        {"type": "kubernetes:core/v1:Pod", "outputs": POD},
        {"type": RELEASE, "outputs": DRIVER},
    ]
    path = state_of("dev")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"checkpoint": {"latest": {"resources": resources}}}))
    return tmp_path


def answer(lab: Path, *objects: dict[str, Any], code: int = 0) -> None:
    """Have kubectl find these."""
    items = [o | {"metadata": {"uid": "0"} | o["metadata"]} for o in objects]
    (lab / "answer").write_text(json.dumps({"items": items}))
    write_script(lab / "bin/kubectl", f"cat > given; cat answer; exit {code}")


def test_nothing_is_lost_while_all_is_there(lab: Path) -> None:
    answer(lab, NAMESPACE, POD, CLASS, ROLE)
    assert drift.find("dev") == []
    asked = json.loads((lab / "given").read_text())["items"]
    assert [item["kind"] for item in asked] == ["Namespace", "Pod", "DeviceClass", "Role"]


@pytest.mark.parametrize("told", ["c", "d/c"])
@pytest.mark.parametrize("role", ["r", "d/r"])
def test_a_chart_may_leave_out_namespaces_or_write_too_many(
    lab: Path, told: str, role: str
) -> None:
    names = {"DeviceClass.resource.k8s.io/resource.k8s.io/v1": [told], "Role/v1": [role]}
    release = {"type": RELEASE, "outputs": DRIVER | {"resourceNames": names}}
    state_of("dev").write_text(json.dumps({"checkpoint": {"latest": {"resources": [release]}}}))
    answer(lab, CLASS, ROLE)
    assert drift.find("dev") == []
    asked = json.loads((lab / "given").read_text())["items"]
    assert [item["metadata"]["namespace"] for item in asked] == ["d", "d"]
    answer(lab, ROLE)
    assert drift.find("dev") == [f"DeviceClass {told}"]


def test_what_is_gone_and_what_was_made_again_by_somebody_is_named(lab: Path) -> None:
    other = POD | {"metadata": POD["metadata"] | {"uid": "9"}}  # type: ignore[operator]
    answer(lab, NAMESPACE, other, ROLE)
    assert drift.find("dev") == ["Pod m/p", "DeviceClass c"]


def test_a_cluster_that_does_not_answer_has_lost_nothing_yet(lab: Path) -> None:
    answer(lab, code=1)
    assert drift.find("dev") == []


def test_a_stack_without_a_cluster_is_not_asked(lab: Path) -> None:
    (lab / ".run/dev/kubeconfig").unlink()
    assert drift.find("dev") == []
    state_of("dev").unlink()
    assert drift.find("dev") == []


@pytest.mark.parametrize("code", [0, 1])
def test_what_a_release_lost_is_made_again_as_helm_marks_it(
    lab: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    bare = {"apiVersion": "v1", "kind": "Role", "metadata": {"name": "r"}}
    monkeypatch.setattr(half_made, "released", lambda _: [CLASS, bare])
    write_script(
        lab / "bin/kubectl",
        f"""cat > given
case "$*" in
  *secrets*) echo '{{"items": [{{"data": {{"release": "packed"}}}}]}}' ;;
  *create*) cp given made; echo no >&2; exit {code} ;;
  *) echo '{{"items": []}}' ;;
esac""",
    )
    if code:
        with pytest.raises(LabError, match="Helm release driver cannot be restored: no"):
            drift.restore_released("dev")
        return
    drift.restore_released("dev")
    made = json.loads((lab / "made").read_text())["items"]
    assert [item["metadata"]["name"] for item in made] == ["c", "r"]
    assert made[0]["metadata"]["annotations"]["meta.helm.sh/release-namespace"] == "d"
    assert made[0]["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
