"""The lab is attached to one cluster of others, and never takes another one for it."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from kube.errors import KubeError
from machine import cluster_state, identity
from machine.errors import LabError
from operations.existing import cluster as existing
from operations.existing.cluster import Specification
from operations.stack import clusters

STACK = "module3"
FACTS = {
    "kind": "existing",
    "name": "prod",
    "source": "config",
    "cluster_id": "uid-1",
    "release": "",
    "outside": [],
    "domain": "gpu.nvidia.com",
    "lab": "0123456789ab",
}
Patch = pytest.MonkeyPatch


class TheirCluster:
    """What the operations ask of it. left: what of the lab is there."""

    cluster_id = "uid-1"
    left: tuple[str, ...] = ()
    asked = ""


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: Patch) -> TheirCluster:
    made = TheirCluster()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(existing.BEFORE, raising=False)
    user = {"name": "u", "user": {"token": "secret"}}
    context = {"name": "prod", "context": {"cluster": "c", "user": "u"}}
    content = {
        "clusters": [{"name": "c", "cluster": {"server": "https://c"}}],
        "users": [user],
        "contexts": [context, {"name": "other", "context": {}}],
    }
    Path("config").write_text(yaml.safe_dump(content))

    @contextmanager
    def opened(config: dict[str, Any], folder: Path) -> Iterator[Any]:
        assert folder == cluster_state.RUN / STACK
        made.asked = config["current-context"]
        yield made

    monkeypatch.setattr(existing, "opened", opened)
    monkeypatch.setattr(existing, "_cluster_id", lambda kube: kube.cluster_id)
    monkeypatch.setattr(existing, "_facts", lambda *_: FACTS | {"cluster_id": made.cluster_id})
    monkeypatch.setattr(existing, "Kube", lambda _: made)
    monkeypatch.setattr("kube.ownership.leftovers", lambda *_: list(made.left))
    return made


def wanted(context: str = "prod") -> Specification:
    return Specification(
        STACK, "config", context, "gpu.nvidia.com", "chart", "plugin", False, "GPU-1", []
    )


def folder() -> Path:
    return cluster_state.RUN / STACK


def test_attached_it_has_the_facts_and_a_kubeconfig_for_this_user_only(
    theirs: TheirCluster,
) -> None:
    facts = existing.attach(wanted())
    assert json.loads((folder() / cluster_state.FACTS).read_text()) == facts
    assert "secret" not in json.dumps(facts)
    written = folder() / cluster_state.KUBECONFIG
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert [each["name"] for each in yaml.safe_load(written.read_text())["contexts"]] == ["prod"]


def test_attached_it_keeps_its_life_until_something_ends_it(theirs: TheirCluster) -> None:
    existing.attach(wanted())
    existing.renew(wanted(), "uid-1", "first")
    assert cluster_state.of(STACK) == "first"
    (folder() / cluster_state.KUBECONFIG).unlink()
    assert cluster_state.of(STACK) != "first"
    existing.renew(wanted(), "uid-1", "second")
    assert cluster_state.of(STACK) == "second"


def test_files_that_were_lost_are_made_anew(theirs: TheirCluster) -> None:
    existing.renew(wanted(), "uid-1", "first")
    assert cluster_state.kind_of(STACK) == "existing"
    assert cluster_state.of(STACK) == "first"


def test_who_logged_in_again_is_known_at_the_next_update(theirs: TheirCluster) -> None:
    def token() -> str:
        content = yaml.safe_load((folder() / cluster_state.KUBECONFIG).read_text())
        return str(content["users"][0]["user"]["token"])

    existing.attach(wanted())
    config = Path("config")
    config.write_text(config.read_text().replace("secret", "newer"))
    existing.renew_login(STACK)
    assert token() == "newer"
    config.write_text(config.read_text().replace("newer", "of-another-cluster"))
    theirs.cluster_id = "uid-2"
    existing.renew_login(STACK)
    assert token() == "newer"


def test_without_a_lab_there_is_no_login_to_renew(theirs: TheirCluster) -> None:
    existing.renew_login(STACK)
    assert not cluster_state.RUN.exists()


def test_an_unknown_context_changes_nothing(theirs: TheirCluster) -> None:
    with pytest.raises(LabError, match="no context 'prodd' in config; contexts: other, prod"):
        existing.attach(wanted("prodd"))
    assert not cluster_state.RUN.exists()


def test_a_cluster_that_does_not_tell_changes_nothing(
    theirs: TheirCluster, monkeypatch: Patch
) -> None:
    def refuses(*_: Any) -> None:
        raise KubeError("the API server answers 403 no")

    monkeypatch.setattr(existing, "_facts", refuses)
    with pytest.raises(LabError, match="context 'prod': the API server answers 403 no"):
        existing.attach(wanted())
    assert not cluster_state.RUN.exists()


OTHER = "leads to another cluster than the one that stack module3 was made on"


def test_a_lab_does_not_move_to_another_cluster(theirs: TheirCluster) -> None:
    existing.attach(wanted())
    theirs.cluster_id = "uid-2"
    for move in (
        lambda: existing.attach(wanted()),
        lambda: existing.renew(wanted(), "uid-1", "again"),
        lambda: existing.require_reachable(STACK),
        lambda: clusters.revive(STACK, "uid-1"),
    ):
        with pytest.raises(LabError, match=OTHER):
            move()


def test_nor_when_its_files_are_lost_and_only_pulumi_knows(
    theirs: TheirCluster, monkeypatch: Patch
) -> None:
    monkeypatch.setenv(existing.BEFORE, json.dumps(FACTS))
    theirs.cluster_id = "uid-2"
    with pytest.raises(LabError, match=OTHER):
        existing.attach(wanted())


def test_a_removal_finds_the_cluster_by_what_pulumis_state_knows(theirs: TheirCluster) -> None:
    state = identity.state_of(STACK)
    state.parent.mkdir(parents=True)
    urn = "urn:pulumi:module3::dra-workshop::command:local:Command::cluster"
    resource = {"urn": urn, "outputs": {"stdout": json.dumps(FACTS)}}
    state.write_text(json.dumps({"checkpoint": {"latest": {"resources": [resource]}}}))
    assert existing.require_reachable(STACK)
    assert theirs.asked == "prod"
    assert (folder() / cluster_state.KUBECONFIG).exists()


def test_without_a_lab_there_is_nothing_to_reach(theirs: TheirCluster) -> None:
    assert not existing.require_reachable(STACK)
    assert not cluster_state.RUN.exists()


def test_a_cluster_that_is_gone_for_good_can_be_forgotten(
    theirs: TheirCluster, monkeypatch: Patch
) -> None:
    existing.attach(wanted())

    def gone(_: Any) -> None:
        raise KubeError("the API server cannot be reached")

    monkeypatch.setattr(existing, "_cluster_id", gone)
    with pytest.raises(LabError, match="cannot be reached; if that cluster is gone for good"):
        existing.require_reachable(STACK)


def test_a_driver_that_others_use_is_not_taken_away(
    theirs: TheirCluster, monkeypatch: Patch
) -> None:
    existing.attach(wanted())
    (folder() / cluster_state.FACTS).write_text(json.dumps(FACTS | {"release": "chart"}))
    mine = SimpleNamespace(metadata=SimpleNamespace(name="dra-module3"))
    listed = SimpleNamespace(list_namespace=None, list_resource_claim_for_all_namespaces=None)
    monkeypatch.setattr(theirs, "core", listed, raising=False)
    monkeypatch.setattr(theirs, "resource", listed, raising=False)
    monkeypatch.setattr(
        theirs, "get", lambda *_, **__: SimpleNamespace(items=[mine]), raising=False
    )
    monkeypatch.setattr("kube.ownership.users", lambda *_: ["dra-module3/a"])
    assert existing.require_reachable(STACK)
    monkeypatch.setattr("kube.ownership.users", lambda *_: ["dra-module3/a", "team/b"])
    with pytest.raises(LabError, match="stack module3 brought: team/b; have them"):
        existing.require_reachable(STACK)


def test_detached_nothing_of_ours_is_left(theirs: TheirCluster) -> None:
    existing.attach(wanted())
    existing.detach(STACK)
    assert not folder().exists()
    existing.detach(STACK)
    assert Path("config").exists()


def test_what_is_left_on_the_cluster_is_named_and_the_files_kept(theirs: TheirCluster) -> None:
    existing.attach(wanted())
    theirs.left = ("Namespace dra-module3",)
    with pytest.raises(LabError, match="context 'prod': Namespace dra-module3"):
        existing.detach(STACK)
    assert (folder() / cluster_state.KUBECONFIG).exists()


def test_it_is_looked_for_on_the_cluster_although_the_kubeconfig_was_lost(
    theirs: TheirCluster,
) -> None:
    existing.attach(wanted())
    (folder() / cluster_state.KUBECONFIG).unlink()
    theirs.left = ("Namespace dra-module3",)
    with pytest.raises(LabError, match="context 'prod': Namespace dra-module3"):
        existing.detach(STACK)


def test_while_it_is_being_removed_it_is_not_taken_up_again(theirs: TheirCluster) -> None:
    existing.attach(wanted())
    cluster_state.begin_removal(STACK)
    with pytest.raises(LabError, match="finish it with: make destroy STACK=module3"):
        existing.renew(wanted(), "uid-1", "again")
