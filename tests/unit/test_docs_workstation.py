"""Every command that the pages for workstations show is run here, or marked unverified there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from checks.prerequisites import gpus, kind, kind_gpu

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "docs" / name for name in ("workstation.md", "wsl2.md")]
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
PYTHON = ".venv/bin/python "


def commands() -> list[str]:
    lines = [
        line.strip()
        for page in PAGES
        for block in BLOCK.findall(page.read_text())
        for line in block.splitlines()
    ]
    return [line[2:] for line in lines if line[:2] in ("$ ", "> ")]


IN_CONTAINERS = "# run by tests/kind"
VERIFIED = [c for c in commands() if "# unverified" not in c and IN_CONTAINERS not in c]


def test_there_are_commands_of_both_sorts() -> None:
    assert VERIFIED
    assert len(commands()) > len(VERIFIED)


@pytest.mark.parametrize("command", VERIFIED)
def test_commands_that_are_not_marked_give_a_verdict(command: str) -> None:
    assert command.startswith(PYTHON), "only the programs of checks/ can be run on any machine"
    arguments = shlex.split(command.removeprefix(PYTHON))
    done = subprocess.run(
        [sys.executable, *arguments, *(() if "--json" in arguments else ("--json",))],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
    )
    result = json.loads(done.stdout)
    assert (done.returncode, result["status"]) in ((0, "passed"), (1, "failed")), done.stderr
    for finding in result["checks"]:
        assert finding["found"]
        assert bool(finding["remedy"]) is (finding["status"] in ("failed", "warning"))


def test_the_tier_with_real_kind_runs_what_the_page_says_it_runs() -> None:
    """Its parts of `make test` are set-up and image; its first test is the update."""
    told = [c.partition(IN_CONTAINERS)[0].strip() for c in commands() if IN_CONTAINERS in c]
    assert told == [
        "make setup-host setup-kind",
        "sudo make kind-node-image",
        "make up STACK=module4 SET='cluster=kind gpus=mocked'",
        "make destroy STACK=module4",
        "make setup-kind",
        "make up STACK=module3 SET='cluster=kind driver=example'",
    ]
    tier = (ROOT / "tests" / "kind" / "test_kind_cluster.py").read_text()
    assert 'STACK, OTHER, TAKEN = "module4", "module3"' in tier
    assert '"cluster=kind gpus=mocked' in tier
    assert 'workstation.configure(OTHER, "driver", "example")' in tier


def test_the_table_has_every_statement_and_marks_what_is_fatal() -> None:
    """Those that every cluster needs are elsewhere."""
    given = kind.defaults() | {"driverChart": ""}
    both = [kind.run("0", given | {"mocked": mocked}) for mocked in (False, True)]
    found = {finding["id"] for result in both for finding in result["checks"]}
    found -= {"platform", "checkout-path"}
    table = PAGES[0].read_text().split("## What is checked")[1].split("\n## ")[0]
    cells = " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| "))
    assert set(re.findall(r"`([a-z0-9-]+)`", cells)) == found
    assert set(re.findall(r"\*\*`([a-z0-9-]+)`\*\*", cells)) == set(kind.FATAL)


def test_figures_of_the_page_are_those_of_the_program() -> None:
    page = PAGES[0].read_text()
    for figure in (
        f"{kind.INOTIFY['max_user_watches']} watches",
        f"kind {kind.OLDEST_KIND.major}.{kind.OLDEST_KIND.minor} or later",
        f"{kind.CLUSTER_MEMORY:g} GB and {kind.NODE_MEMORY:g} GB a node",
        f"{kind.IMAGE_DISK:g} GB and {kind.NODE_DISK:g} GB a node",
        kind_gpu.MPS_CRASHES[0],
        f"`{gpus.MPS_FOLDER}`",
    ):
        assert figure in page
