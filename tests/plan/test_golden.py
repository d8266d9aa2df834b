"""The plan of every committed stack, as text: what it makes, and out of what.

`make golden` writes the files anew; read their diff as a reviewer.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from report.plan import inputs, kind_and_name
from tests.checkout import NO_NETWORK, Checkout
from toolchain.layout import committed_stacks

GOLDEN = Path(__file__).parent / "golden"
CHANGED: dict[str, tuple[str, dict[str, str]]] = {
    "module5-host": ("module5", {"node": "host"}),
    "module3-kind": ("module3", {"cluster": "kind"}),
    "module5-kind": ("module5", {"cluster": "kind"}),
    "module3-kind-example": ("module3", {"cluster": "kind", "driver": "example"}),
    "module3-existing": (
        "module3",
        {
            "cluster": "existing",
            "context": "prod",
            "target": "GPU-b83343f0-ddfa-f18f-c57a-6148685663c8",
            "installDriver": "true",
        },
    ),
}
"""Plan → stack that it is of, with the keys that are changed."""
WARNING = "resource plugin command is expected to have version"


@pytest.mark.parametrize("name", [*committed_stacks(), *CHANGED])
def test_the_plan_is_the_golden_one(
    checkout: Checkout, name: str, request: pytest.FixtureRequest
) -> None:
    stack, changes = CHANGED.get(name, (name, {}))
    configuration = checkout.folder / f"Pulumi.{name}.yaml"
    if changes:
        shutil.copy(checkout.folder / f"Pulumi.{stack}.yaml", configuration)
    checkout.stack(name)
    for key, value in changes.items():
        checkout.configure(name, key, value)
    done = checkout.pulumi("preview", "--json", "--stack", name, **NO_NETWORK)
    if changes:
        configuration.unlink()  # the other tests find the committed stacks only
    assert done.code == 0, done.text
    found = plan(json.loads(done.text))
    golden = GOLDEN / f"{name}.yaml"
    if request.config.getoption("--golden"):
        golden.write_text(found)
    assert found == golden.read_text(), "the plan changed; `make golden` writes it anew"


def test_a_preview_makes_nothing_and_warns_of_nothing_else(checkout: Checkout) -> None:
    checkout.pulumi("stack", "init", "other", "--no-select")
    done = checkout.pulumi("preview", "--stack", "other", **NO_NETWORK)
    assert done.code == 0, done.text
    warnings = [line for line in done.text.splitlines() if "warning:" in line]
    assert warnings
    assert all(WARNING in line for line in warnings)
    assert not (checkout.folder / ".run").exists()
    assert checkout.processes() == []


@pytest.mark.parametrize("driver", ["nvidia", "example"])
def test_a_preview_of_kind_asks_neither_docker_nor_a_gpu(
    checkout: Checkout, tmp_path: Path, driver: str
) -> None:
    asked = tmp_path / "asked"
    for name in ("docker", "nvidia-smi", "nvidia-ctk"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {asked}\nexit 1\n')
        program.chmod(0o755)
    stack = f"without-docker-{driver}"
    checkout.stack(stack)
    for key, value in (("cluster", "kind"), ("driver", driver)):
        checkout.configure(stack, key, value)
    path = f"{tmp_path / 'bin'}:{checkout.environment()['PATH']}"
    done = checkout.pulumi("preview", "--stack", stack, PATH=path, **NO_NETWORK)
    (checkout.folder / f"Pulumi.{stack}.yaml").unlink()
    assert done.code == 0, done.text
    assert "module3-pod-2" in done.text, "the whole graph is shown"
    assert not asked.exists(), asked.read_text()
    assert not (checkout.folder / ".run").exists()


def test_golden_plans_and_stacks_belong_together(request: pytest.FixtureRequest) -> None:
    stacks = sorted([*committed_stacks(), *CHANGED])
    if request.config.getoption("--golden"):
        for path in GOLDEN.glob("*.yaml"):
            if path.stem not in stacks:
                path.unlink()
    assert sorted(path.stem for path in GOLDEN.glob("*.yaml")) == stacks, (
        "a stack has no golden plan, or a plan no stack; `make golden` mends both"
    )


def plan(preview: dict[str, Any]) -> str:
    """The resources of a preview, by name, with their inputs, as YAML."""
    resources = {}
    for step in preview["steps"]:
        kind, name = kind_and_name(step["urn"])
        if kind.startswith("pulumi:providers:command"):
            continue
        kept = _steady(inputs(step["newState"]))
        resources[f"{kind} {name}"] = {"op": step["op"]} | ({"inputs": kept} if kept else {})
    return yaml.safe_dump(resources, sort_keys=True, width=100)


def _steady(given: dict[str, Any]) -> dict[str, Any]:
    """Inputs without what changes with every edit of a program: digests, the runs that are named
    after them, and program texts; and without what only this machine says."""
    if isinstance(given.get("stdin"), dict):
        for changing in ("digest", "start_id", "run"):
            given["stdin"].pop(changing, None)
        if "subsets" in given["stdin"]:
            given["stdin"].pop("driver")  # what the kernel of this machine says
    if "data" in given:
        given["data"] = {
            key: value if len(str(value)) < 40 and key != "run" else "…"
            for key, value in given["data"].items()
        }
    return given
