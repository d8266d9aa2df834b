"""What a change does to the stacks, as a reviewer sees it: real commits, the real engine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.checkout import Checkout
from toolchain.layout import committed_stacks


@pytest.fixture
def repository(tmp_path: Path) -> Checkout:
    copy = Checkout.make(tmp_path / "repository")
    copy.history()
    return copy


def test_a_change_is_shown_as_the_engine_would_make_it(repository: Checkout) -> None:
    repository.edit("manifests/module3/20-pods.yaml", "workload:1", "workload:2")
    repository.edit("manifests/module3/00-namespace.yaml", "labels:", "labels:\n    team: red")
    repository.edit("components/modules/module3.py", '("claim-1", "claim-2")', '("claim-1",)')
    repository.edit("checks/modules/driver.py", '"""', '"""Changed. ')
    repository.commit("change")
    repository.edit("Pulumi.module2.yaml", "config:", 'config:\n  dra-workshop:nodes: "2"')
    (repository.folder / "Pulumi.module1.yaml").rename(repository.folder / "Pulumi.extra.yaml")

    done = repository.preview_diff("--base", "HEAD~1")

    assert done.code == 0, done.text
    found = blocks(done.text)
    assert "changes that are not committed are included" in done.text
    assert found["dev, module3"][0] == "6 to change, 4 to replace, 1 to delete"
    for line in (
        "~ change Namespace module3",
        "metadata.labels.team: added red",
        "± replace ConfigMap module3-workshop",
        "± replace Pod module3-pod-1: with what it depends on; reads module3-workshop",
        "spec.containers[hold].image: localhost/dra-workshop/workload:1 → "
        "localhost/dra-workshop/workload:2",
        "- delete ResourceClaim module3-claim-2",
        "~ change Command check-driver: its program or manifests changed",
    ):
        assert line in found["dev, module3"]
    of_others = [line for line in found["dev, module3"] if "Command check-cluster" in line]
    assert not of_others, "a check whose program did not change"
    assert "+ create Node gpu-node-1" in found["module2"]
    assert "stdin.nodes[1]: added gpu-node-1" in found["module2"]
    assert found["extra"][0].startswith("a new stack, ")
    assert found["module1"][0].startswith("the stack is removed, ")
    assert "- delete Provider cluster" in found["module1"]


def blocks(text: str) -> dict[str, list[str]]:
    """The output by its stacks: what the heading says of them, then every line."""
    found = {}
    for block in text.split("\n\n")[1:]:
        heading, *lines = block.splitlines()
        names, _, said = heading.partition(": ")
        found[names] = [said, *(line.strip() for line in lines)]
    return found


def test_without_a_change_every_committed_stack_stays_as_it_is(repository: Checkout) -> None:
    done = repository.preview_diff("--base", "HEAD", "--json")
    assert done.code == 0, done.text
    compared: dict[str, Any] = json.loads(done.text)
    assert compared["notes"] == []
    assert list(compared["stacks"]) == committed_stacks()
    for stack in compared["stacks"].values():
        assert stack["status"] == "same", stack
        assert stack["unchanged"] > 0


@pytest.mark.parametrize("driver", ["nvidia", "example"])
def test_stacks_of_containers_are_compared_as_well(repository: Checkout, driver: str) -> None:
    configured = f"config:\n  dra-workshop:cluster: kind\n  dra-workshop:driver: {driver}"
    repository.edit("Pulumi.module3.yaml", "config:", configured)
    repository.commit("kind")
    repository.edit("manifests/module3/00-namespace.yaml", "labels:", "labels:\n    team: red")
    done = repository.preview_diff("--base", "HEAD", "--stack", "module3", "--json")
    assert done.code == 0, done.text
    (stack,) = json.loads(done.text)["stacks"].values()
    assert stack["status"] == "changed", stack
    changed = [entry["resource"] for entry in stack["entries"]]
    assert "Namespace module3" in changed
    assert not [each for each in changed if "luster" in each], changed


def test_a_side_that_cannot_be_previewed_says_why_and_stops_no_other(repository: Checkout) -> None:
    repository.edit("Pulumi.module0.yaml", "config:", "config:\n  dra-workshop:nodes: none")
    repository.commit("broken")
    repository.edit("Pulumi.module0.yaml", "nodes: none", 'nodes: "2"')
    repository.edit("Pulumi.module1.yaml", "config:", "config:\n  dra-workshop:nodes: many")

    stacks = ("--stack", "module0", "--stack", "module1")
    done = repository.preview_diff("--base", "HEAD", *stacks)

    assert done.code == 1
    found = blocks(done.text)
    assert re.match(
        "the base cannot be previewed here: .*'none' is not allowed", found["module0"][0]
    )
    assert re.match("cannot be previewed: .*'many' is not allowed", found["module1"][0])
    assert "Traceback" not in done.text


def test_what_cannot_be_compared_with_is_named(repository: Checkout) -> None:
    done = repository.preview_diff("--base", "nowhere")
    assert done.code == 1
    assert "there is no revision 'nowhere'" in done.text
    assert "git log --oneline --all" in done.text
    done = repository.preview_diff("--base", "HEAD", "--stack", "module77")
    assert done.code == 1
    assert "there is no stack 'module77'; stacks: dev, " in done.text
    (repository.folder / ".git").rename(repository.folder / "git")
    done = repository.preview_diff()
    assert done.code == 1
    assert "is not a git checkout" in done.text
    assert done.text.count("\n") == 1
