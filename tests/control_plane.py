"""A control plane alone, as the lab's own programs make one, for tests that need no lab."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components import webhook
from tests.checkout import Checkout
from toolchain.layout import BIN

CLUSTER = "alone"
SPECIFICATION = {
    "stack": CLUSTER,
    "kubernetes_version": "1.37.2",
    "feature_gates": [],
    "runtime_config": [],
    "stages": "",
}


@dataclass(frozen=True)
class Plane:
    """facts: what the program that made it says of it."""

    checkout: Checkout
    facts: dict[str, Any]

    @property
    def kubeconfig(self) -> Path:
        return self.checkout.folder / ".run" / CLUSTER / "kubeconfig"

    def ask(self, *arguments: str, given: Any = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "kubectl", "--kubeconfig", self.kubeconfig, *arguments], check=False,
            input=None if given is None else json.dumps(given), capture_output=True, text=True,
        )  # fmt: skip

    def kubectl(self, *arguments: str, given: Any = None) -> str:
        done = self.ask(*arguments, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def register_webhook(self) -> None:
        self.kubectl("create", "-f", "-", given=webhook.configuration(self.facts["webhook"]))


@contextmanager
def control_plane(checkout: Checkout) -> Iterator[Plane]:
    cluster = [".venv/bin/python", "-m", "operations", "cluster"]
    made = subprocess.run(
        [*cluster, "create"], cwd=checkout.folder, env=checkout.environment(), check=False,
        input=json.dumps(SPECIFICATION), capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    try:
        yield Plane(checkout, json.loads(made.stdout))
    finally:
        removed = checkout.run(*cluster, "down", "--stack", CLUSTER)
        assert removed.code == 0, removed.text
