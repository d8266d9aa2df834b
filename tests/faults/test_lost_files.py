"""Files that a person, a cleaner or a crash removed under a running lab."""

from __future__ import annotations

import json
import socket

import pytest

from tests.checkout import Checkout
from tests.faults.lab import (
    STACK,
    kill_all,
    remove,
    require_clean_destroy,
    require_passed,
    results,
    up,
)

GONE = f"the files of cluster {STACK} are gone"


@pytest.fixture
def lab(checkout: Checkout) -> Checkout:
    checkout.stack(STACK)
    require_passed(checkout)
    return checkout


def lives(lab: Checkout) -> dict[str, str]:
    """Check → in which life of the cluster it ran last."""
    records = (lab.folder / ".results" / STACK / "checks").glob("*.json")
    return {path.stem: json.loads(path.read_text())["start_id"] for path in records}


def test_a_deleted_kubeconfig_is_given_back(lab: Checkout) -> None:
    (lab.folder / ".run" / STACK / "kubeconfig").unlink()
    require_passed(lab)
    assert lab.kubectl(STACK, "get", "--raw", "/readyz").text == "ok"
    require_clean_destroy(lab)


def test_a_lab_without_its_kubeconfig_can_be_removed(lab: Checkout) -> None:
    (lab.folder / ".run" / STACK / "kubeconfig").unlink()
    require_clean_destroy(lab)


@pytest.mark.parametrize("processes", ["running", "ended"])
def test_a_cluster_without_its_files_is_said_in_one_line_and_can_be_removed(
    lab: Checkout, processes: str
) -> None:
    kept = results(lab)
    if processes == "ended":
        kill_all(lab)
    remove(lab.folder / ".run")
    lost = up(lab)
    assert lost.code != 0
    assert GONE in lost.text
    assert f"make destroy STACK={STACK}" in lost.text
    assert "Traceback" not in lost.text
    assert results(lab).items() >= kept.items(), "no result that was saved is lost"
    require_clean_destroy(lab)
    require_passed(lab)
    require_clean_destroy(lab)


def test_after_the_state_is_lost_the_lab_is_made_anew(lab: Checkout) -> None:
    kept = results(lab)
    remove(lab.folder / ".state")
    (lab.folder / ".state").mkdir()
    lab.stack(STACK)  # as set-up does
    require_passed(lab)
    assert results(lab).items() >= kept.items(), "no result that was saved is lost"
    require_clean_destroy(lab)


def test_a_lab_whose_state_is_lost_can_be_removed(lab: Checkout) -> None:
    remove(lab.folder / ".state")
    (lab.folder / ".state").mkdir()
    lab.stack(STACK)
    require_clean_destroy(lab)
    assert lab.processes() == []


def test_after_a_reboot_the_lab_comes_back_with_its_data(lab: Checkout) -> None:
    before = lab.outputs(STACK)["cluster"]["cluster_id"]
    first = lives(lab)
    kill_all(lab)
    assert lab.processes() == []
    require_passed(lab)
    again = lives(lab)
    assert set(again) == {"prerequisites", "cluster", "driver", "exclusive"}
    assert len(set(again.values())) == 1, "every check ran again, in the same life"
    assert set(again.values()) != set(first.values())
    assert lab.preview(STACK, "--expect-no-changes").code == 0
    assert lab.outputs(STACK)["cluster"]["cluster_id"] == before
    require_clean_destroy(lab)


def test_after_a_reboot_the_lab_can_be_removed(lab: Checkout) -> None:
    kill_all(lab)
    require_clean_destroy(lab)


@pytest.mark.parametrize("program", ["kube-scheduler", "dra-webhook"])
def test_one_ended_process_is_started_again(lab: Checkout, program: str) -> None:
    """Without the webhook the API server refuses every claim."""
    before = lab.processes()
    kill_all(lab, program)
    assert len(lab.processes()) == len(before) - 1
    require_passed(lab)
    assert len(lab.processes()) == len(before)
    require_clean_destroy(lab)


def test_a_port_that_is_taken_while_the_lab_is_down_is_named_with_its_holder(
    lab: Checkout,
) -> None:
    port = int(lab.outputs(STACK)["cluster"]["server"].rpartition(":")[2])
    kill_all(lab)
    with socket.create_server(("127.0.0.1", port)):
        refused = up(lab)
        assert refused.code != 0
        assert f"port {port} of kube-apiserver of cluster {STACK} is taken by" in refused.text
        assert f"make destroy STACK={STACK}" in refused.text
        assert "Traceback" not in refused.text
    require_passed(lab)
    require_clean_destroy(lab)


def test_a_new_cluster_keeps_clear_of_ports_that_are_taken(lab: Checkout) -> None:
    wanted = int(lab.outputs(STACK)["cluster"]["server"].rpartition(":")[2])
    require_clean_destroy(lab)
    with socket.create_server(("127.0.0.1", wanted)):
        require_passed(lab)
        assert not lab.outputs(STACK)["cluster"]["server"].endswith(f":{wanted}")
        require_clean_destroy(lab)


def test_a_lab_whose_checkout_was_moved_says_what_to_run_and_can_be_removed(lab: Checkout) -> None:
    left = lab.folder
    moved = Checkout(left.rename(left.with_name("moved")))
    refused = up(moved)
    assert refused.code != 0
    assert "the checkout was moved" in refused.text
    assert f"make destroy STACK={STACK}" in refused.text
    require_clean_destroy(moved)
    assert lab.processes() == [], "those that were started where it was"
