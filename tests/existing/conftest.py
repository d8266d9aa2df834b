"""Two clusters that are not the lab's, each of a checkout of its own: one with a driver, one
without. What a test leaves running there is ended and reported."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml

from tests.checkout import Checkout
from tests.existing.theirs import NODE, Theirs, simulated_node, slice_of

ALONE = "theirs"
BARE = {
    "stack": ALONE,
    "kubernetes_version": "1.37.2",
    "feature_gates": [],
    "runtime_config": [],
    "stages": "",
}
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
"""
NODES = (NODE, "gpu-node-1")


def audit_policy(folder: Path) -> dict[str, str]:
    """The environment in which kwokctl makes a cluster whose API server logs what it is asked."""
    path = folder / "audit-policy.yaml"
    path.write_text(AUDIT_POLICY)
    return {"KWOK_KUBE_AUDIT_POLICY": str(path)}


@contextmanager
def ended(checkout: Checkout) -> Iterator[None]:
    """What runs out of that folder is ended at the end, whatever happened."""
    try:
        yield
    finally:
        mark = str(checkout.folder.resolve())
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"]
            if command and command[0].startswith(mark):
                process.kill()


@pytest.fixture(scope="module")
def with_driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theirs]:
    """A cluster with NVIDIA's chart, a simulated node, and a namespace of somebody."""
    folder = tmp_path_factory.mktemp("with-driver")
    checkout = Checkout.make(folder / "checkout")
    with ended(checkout):
        checkout.stack("module2")
        policy = audit_policy(folder)
        made = checkout.up("module2", **policy)
        assert made.code == 0, made.text
        theirs = Theirs(checkout, "module2", folder / "person")
        theirs.kubectl("create", "namespace", "somebody")
        yield theirs
        gone = checkout.destroy("module2")
        assert gone.code == 0, gone.text
        assert checkout.processes() == []


@pytest.fixture(scope="module")
def without_driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theirs]:
    """A cluster with two simulated nodes and their slices, on which no driver is installed."""
    folder = tmp_path_factory.mktemp("without-driver")
    checkout = Checkout.make(folder / "checkout")
    command = (".venv/bin/python", "-m", "operations", "cluster")
    policy = audit_policy(folder)
    with ended(checkout):
        done = subprocess.run(
            [*command, "create"], cwd=checkout.folder, text=True,
            env=checkout.environment() | policy,
            input=json.dumps(BARE), capture_output=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        theirs = Theirs(checkout, ALONE, folder / "person")
        objects = [*map(simulated_node, NODES), *map(slice_of, NODES)]
        theirs.kubectl("apply", "-f", "-", given=yaml.safe_dump_all(objects))
        theirs.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=30s")
        yield theirs
        gone = checkout.run(*command, "down", "--stack", ALONE)
        assert gone.code == 0, gone.text
        assert checkout.processes() == []
