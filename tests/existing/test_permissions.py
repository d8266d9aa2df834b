"""What the preflight asks for is what the lab does: a user who has exactly that gets through, and
the API server's log has nothing else of that user, nor less."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from checks.prerequisites.existing_permissions import escalation, needed
from kube.permissions import Permission
from tests.checkout import Checkout
from tests.existing.theirs import STACK, Theirs, lab
from tests.marks import repeat

DRIVER = "dra-driver-nvidia-gpu"
NAME = "lab-user"
ASKING = "selfsubject"
"""How the resources begin by which one asks what one may do."""
RBAC = "rbac.authorization.k8s.io"


@pytest.mark.parametrize("whose", ["without_driver", repeat("with_driver")])
def test_the_preflight_asks_for_what_the_lab_does_and_for_nothing_else(
    whose: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    theirs: Theirs = request.getfixturevalue(whose)
    installs = whose == "without_driver"
    ours = lab(
        tmp_path / "lab",
        theirs,
        kubeconfig=str(theirs.kubeconfig("limited", **theirs.user(NAME))),
        modules=["3", "5"],
        installDriver=str(installs).lower(),
    )
    refused = ours.operate("up", "--stack", STACK)
    assert refused.code != 0
    assert "found:    may not create" in refused.text, refused.text
    wanted = needed(parameters(ours), DRIVER, simulated=True)
    allow(theirs, {*wanted, *(escalation(DRIVER) if installs else ())})
    before = len(events(theirs))

    for command in (("up",), ("up", "--verify"), ("destroy",)):
        done = ours.operate(*command, "--stack", STACK)
        assert done.code == 0, done.text
    found = used(events(theirs)[before:])
    assert sorted(map(str, found - wanted)) == [], "done, and not asked for"
    assert sorted(map(str, wanted - found)) == [], "asked for, and never done"


def parameters(ours: Checkout) -> dict[str, Any]:
    """What the preflight was told, as Pulumi's state has it."""
    state = json.loads(ours.pulumi("stack", "export", "--stack", STACK).text)
    (given,) = (
        resource["inputs"]["stdin"]
        for resource in state["deployment"]["resources"]
        if resource["urn"].endswith("Command::check-existing")
    )
    found: dict[str, Any] = json.loads(given)["parameters"]
    return found


def allow(theirs: Theirs, permissions: set[Permission]) -> None:
    rules = [
        {"apiGroups": [each.group], "resources": [each.resource], "verbs": [each.verb]}
        for each in sorted(permissions)
    ]
    common = {"apiVersion": f"{RBAC}/v1", "metadata": {"name": NAME}}
    role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": NAME}
    user = {"apiGroup": RBAC, "kind": "User", "name": NAME}
    objects = [
        common | {"kind": "ClusterRole", "rules": rules},
        common | {"kind": "ClusterRoleBinding", "roleRef": role, "subjects": [user]},
    ]
    theirs.kubectl("apply", "-f", "-", given=yaml.safe_dump_all(objects))


def events(theirs: Theirs) -> list[dict[str, Any]]:
    """What the API server's log has of the user, without what anybody may read."""
    found = [json.loads(line) for line in theirs.audit_log.read_text().splitlines()]
    return [each for each in found if each["user"]["username"] == NAME and "objectRef" in each]


def used(logged: list[dict[str, Any]]) -> set[Permission]:
    found = set()
    for each in logged:
        about = each["objectRef"]
        if not about["resource"].startswith(ASKING):
            name = "/".join(filter(None, (about["resource"], about.get("subresource"))))
            where = about.get("namespace", "")
            found.add(Permission(name, each["verb"], about.get("apiGroup", ""), where))
    return found
