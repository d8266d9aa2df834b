"""Nobody but its owner reads the files of a cluster or reaches what runs of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import stranger
from tests.checkout import Checkout
from tests.embedded.test_cluster import STACK, create, down, revive

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


@pytest.fixture
def checkout() -> Iterator[Checkout]:
    """In a folder that every user may look into, as a home often is."""
    folder = Path(tempfile.mkdtemp(prefix="dra-workshop-"))
    folder.chmod(0o755)
    made = Checkout.make(folder / "checkout")
    yield made
    for process in running(made):
        process.kill()
    shutil.rmtree(folder)


def running(checkout: Checkout) -> list[psutil.Process]:
    mark = str(checkout.folder.resolve())
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [""])[0].startswith(mark)
    ]


def seen_by_others(checkout: Checkout, facts: dict[str, Any]) -> list[str]:
    """All that another user gets but kwok's counters."""
    addresses = stranger.listening(running(checkout))
    assert {port for _, port in addresses} == set(facts["ports"].values())
    counters = f"{facts['ports']['kwok-controller']}/metrics: # HELP go_gc_duration"
    seen = stranger.found([checkout.folder / ".run"], addresses)
    return [line for line in seen if not line.startswith(counters)]


def etcd(checkout: Checkout, facts: dict[str, Any], *more: str) -> subprocess.CompletedProcess[str]:
    """Ask etcd, at the path that tells its version, with what curl is told more."""
    url = f"https://127.0.0.1:{facts['ports']['etcd']}/version"
    command = ["curl", "--silent", "--show-error", "--insecure", "--max-time", "5", *more, url]
    return subprocess.run(command, cwd=checkout.folder, text=True, capture_output=True, check=False)


def test_another_user_reads_nothing_and_reaches_nothing_also_after_a_kill(
    checkout: Checkout,
) -> None:
    facts = create(checkout)
    assert seen_by_others(checkout, facts) == []
    for process in running(checkout):
        process.kill()
    revive(checkout, facts)
    assert seen_by_others(checkout, facts) == []
    down(checkout)


def test_etcd_serves_only_the_administrator_and_no_node(checkout: Checkout) -> None:
    facts = create(checkout)
    pki = checkout.folder / ".run" / STACK / "kwok" / "clusters" / STACK / "pki"
    owner = etcd(checkout, facts, "--cert", str(pki / "admin.crt"), "--key", str(pki / "admin.key"))
    assert "etcdserver" in owner.stdout
    certificate = (
        "from pathlib import Path; from operations.host_node.node_files import node_certificate; "
        f"made = node_certificate(Path({str(pki)!r})); "
        "[Path(n).write_bytes(b) for n, b in zip(('node.crt', 'node.key'), made)]"
    )
    made = checkout.run(".venv/bin/python", "-c", certificate)
    assert made.code == 0, made.text
    node = etcd(checkout, facts, "--cert", "node.crt", "--key", "node.key")
    assert (node.returncode != 0, node.stdout) == (True, "")
    down(checkout)


def test_a_cluster_that_was_open_to_all_is_closed_when_it_is_started_again(
    checkout: Checkout,
) -> None:
    facts = create(checkout)
    for folder in (checkout.folder / ".run", checkout.folder / ".run" / STACK):
        folder.chmod(0o755)
    assert stranger.found([checkout.folder / ".run" / STACK], [])
    revive(checkout, facts)
    assert stranger.found([checkout.folder / ".run"], []) == []
    assert json.loads((checkout.folder / ".run" / STACK / "cluster.json").read_text()) == facts
    down(checkout)
