"""On a cluster of others without a driver: the lab brings it, and takes all of it away."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from kube.client import Kube
from kube.errors import KubeError
from machine.waiting import until
from tests.checkout import Checkout
from tests.existing.theirs import STACK, TARGET, Theirs, differences, lab, refused
from tests.faults.lab import engine_of, go_on_until, kill_engine, running

ROLE = "compute-domain-daemon-role"
"""Of the driver's chart; it is among the first that Helm makes."""
OURS = {"dra-driver-nvidia-gpu", "dra-module3"}


@pytest.fixture(scope="module")
def ours(without_driver: Theirs, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return lab(tmp_path_factory.mktemp("ours") / "lab", without_driver, installDriver="true")


def test_the_lab_brings_the_driver_and_leaves_nothing(
    without_driver: Theirs, ours: Checkout
) -> None:
    theirs = without_driver
    before = theirs.objects()
    person = theirs.kubeconfig()
    content = person.read_text()

    planned = ours.preview(STACK)
    assert planned.code == 0, planned.text
    made = ours.up(STACK)
    assert made.code == 0, made.text
    outputs = ours.outputs(STACK)
    assert outputs["status"] == "passed"
    assert outputs["simulated"] == "all"
    assert outputs["cluster"]["kind"] == "existing"
    for thing in outputs["driver"]["outside"]:
        assert thing in planned.text, "the preview, before there was a connection, did not tell"
    assert_only_what_is_told(theirs, before, outputs["driver"]["outside"])
    assert_one_context(ours.folder / ".run" / STACK / "kubeconfig", theirs.context)
    claims = theirs.kubectl("get", "resourceclaims", "-n", "dra-module3", "-o", "yaml")
    assert TARGET in claims

    unchanged = ours.preview(STACK, "--expect-no-changes")
    assert unchanged.code == 0, unchanged.text
    verified = ours.operate("up", "--stack", STACK, "--verify")
    assert verified.code == 0, verified.text

    assert ours.credentials(STACK), "the provider's copies are known by their mark"
    gone = ours.operate("destroy", "--stack", STACK)
    assert gone.code == 0, gone.text
    assert ours.credentials(STACK) == []
    assert differences(before, theirs.objects()) == []
    assert not (ours.folder / ".run" / STACK).exists()
    assert person.read_text() == content
    assert ours.operate("destroy", "--stack", STACK).code == 0


def test_what_a_killed_update_made_is_taken_away_too(
    without_driver: Theirs, ours: Checkout
) -> None:
    """Here nothing goes with the cluster, and nothing that is there is taken over."""
    before = without_driver.objects()
    kill_engine(ours, "up", "Namespace driver creating")
    with running(ours, "up", "--stack", STACK) as process:
        go_on_until(process, "Release driver creating")
        engine = engine_of(process)
        wait_for(without_driver, "/apis/rbac.authorization.k8s.io/v1/clusterroles/" + ROLE)
        engine.kill()
    gone = ours.operate("destroy", "--stack", STACK)
    assert gone.code == 0, gone.text
    assert ours.credentials(STACK) == []
    assert differences(before, without_driver.objects()) == []


def test_an_unknown_context(without_driver: Theirs, ours: Checkout) -> None:
    there = f"contexts: {without_driver.context}, other"
    refused(without_driver, ours, "no context 'prodd' in", there, context="prodd")


def test_a_kubeconfig_that_is_not_there(without_driver: Theirs, ours: Checkout) -> None:
    refused(without_driver, ours, "there is no file /nowhere/config",
            kubeconfig="/nowhere/config")  # fmt: skip


def test_credentials_that_have_expired(without_driver: Theirs, ours: Checkout) -> None:
    kubeconfig = without_driver.kubeconfig("expired", **without_driver.expired())
    refused(without_driver, ours, "credentials-accepted", "the client certificate of user",
            "expired on", "log in again", kubeconfig=str(kubeconfig))  # fmt: skip


def test_credentials_that_are_refused(without_driver: Theirs, ours: Checkout) -> None:
    kubeconfig = without_driver.kubeconfig("refused", token="none")  # noqa: S106
    refused(without_driver, ours, "401 Unauthorized", kubeconfig=str(kubeconfig))


def test_an_api_server_that_is_not_there(without_driver: Theirs, ours: Checkout) -> None:
    kubeconfig = without_driver.kubeconfig("away")
    server = "https://127.0.0.1:9"
    text = kubeconfig.read_text()
    (line,) = (line for line in text.splitlines() if "server:" in line)
    kubeconfig.write_text(text.replace(line.strip(), f"server: {server}"))
    refused(without_driver, ours, "api-reachable", f"{server}: ", "refused",
            kubeconfig=str(kubeconfig))  # fmt: skip


def wait_for(theirs: Theirs, path: str) -> None:
    """Until the object is there that is read by that path."""
    kube = Kube(str(theirs.own))
    for attempt in until(30, KubeError):
        with attempt:
            kube.text(path)


def assert_only_what_is_told(
    theirs: Theirs, before: dict[str, dict[str, object]], outside: list[str]
) -> None:
    """While the lab is there, nothing but what it tells of is outside its namespaces."""
    found = {
        line.removeprefix("new: ").replace(" /", " ")
        for line in differences(before, theirs.objects())
        if not any(f" {name}/" in line or line.endswith(f"Namespace /{name}") for name in OURS)
    }
    # A kind that is served in several versions is listed in each.
    told = {thing.partition("/")[0] + " " + thing.partition(" ")[2] for thing in outside}
    assert {f"{line.partition('/')[0]} {line.partition(' ')[2]}" for line in found} == told


def assert_one_context(path: Path, context: str) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = yaml.safe_load(path.read_text())
    assert [entry["name"] for entry in content["contexts"]] == [context]
    assert len(content["clusters"]) == len(content["users"]) == 1
