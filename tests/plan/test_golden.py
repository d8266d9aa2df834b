"""The plan of every committed stack, as text: what it makes, and out of what.

`make golden` writes the files anew; read their diff as a reviewer.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from operations.stack import stand_in
from report.plan import inputs, kind_and_name
from report.preview_diff import ABSENT, ANEW, fields, title
from tests import mocks
from tests.checkout import NO_NETWORK, Checkout
from toolchain.layout import committed_stacks

GOLDEN = Path(__file__).parent / "golden"
KIND = {"cluster": "kind", "kubernetesVersion": "1.37.0"}
"""Whatever image of nodes was built here."""
CHANGED: dict[str, tuple[str, dict[str, str]]] = {
    "module5-host": ("module5", {"node": "host"}),
    "module4-host-mocked": ("module4", {"node": "host", "gpus": "mocked", "mps": "both"}),
    "module3-kind-mocked": ("module3", KIND | {"gpus": "mocked"}),
    "module5-kind": ("module5", KIND),
    "module3-kind-example": ("module3", KIND | {"driver": "example"}),
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
STACK = "pulumi:pulumi:Stack"
WARNING = "resource plugin command is expected to have version"


@pytest.mark.parametrize("name", [*committed_stacks(), *CHANGED])
def test_the_plan_is_the_golden_one(
    checkout: Checkout,
    name: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack, changes = CHANGED.get(name, (name, {}))
    configuration = checkout.folder / f"Pulumi.{name}.yaml"
    if changes:
        shutil.copy(checkout.folder / f"Pulumi.{stack}.yaml", configuration)
    checkout.stack(name)
    for key, value in changes.items():
        checkout.configure(name, key, value)
    assert checkout.pulumi("preview", "--stack", name, **NO_NETWORK).code == 0
    # Once more, with all known that programs would print and Kubernetes would add.
    monkeypatch.setattr(stand_in, "printed", lambda _, given, __: mocks.printed(given))
    with stand_in.providers(checkout.folder) as attached:
        done = checkout.pulumi("preview", "--json", "--stack", name, **NO_NETWORK | attached)
    if changes:
        configuration.unlink()  # the other tests find the committed stacks only
    assert done.code == 0, done.text
    found = plan(json.loads(done.text.replace(ANEW, "")))
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
        "a stack has no golden plan, or a plan no stack; `make golden` writes both"
    )


def plan(preview: dict[str, Any]) -> str:
    """The resources of a preview: where each belongs, what it waits for, and what decides it."""
    made = {}
    for step in preview["steps"]:
        kind, name = kind_and_name(step["urn"])
        state = step["newState"]
        if kind == STACK or name.startswith("default_"):  # the engine's own
            continue
        assert step["op"] == "create"
        entry: dict[str, Any] = {}
        if STACK not in state["parent"]:
            entry["parent"] = title(state["parent"])
        if state["custom"]:  # what a component waits for, its children wait for
            entry["after"] = sorted(map(title, state.get("dependencies", ())))
            entry |= deciding_inputs(state)
        made[f"{kind} {name}"] = {key: value for key, value in entry.items() if value != []}
    return yaml.safe_dump(made, default_flow_style=None, width=100)


def deciding_inputs(state: dict[str, Any]) -> dict[str, Any]:
    """Of an object from a manifest: which one it is, and what differs from it."""
    given = inputs(state)
    if "stdin" in given:
        return program_inputs(given)
    if given.get("kind") == "ConfigMap":  # programs, and the run
        return {"data": list(given["data"])}
    alike = {key: item for key, item in manifest_objects().items() if place(item) == place(given)}
    if not alike:
        return {key: value for key, value in given.items() if value}
    # A variant has a name like that of what it is a variant of.
    sources = {item["metadata"]["name"]: key for key, item in alike.items()}
    (name,) = get_close_matches(given["metadata"]["name"], sources, n=1, cutoff=0)
    differing = fields(alike[sources[name]], given)
    return {"manifest": sources[name]} | {
        field.path: "removed" if field.new is ABSENT else field.new for field in differing
    }


def program_inputs(given: dict[str, Any]) -> dict[str, Any]:
    """What a Command runs, without what changes with every edit of a program, what only this
    machine says, and what the programs before it printed."""
    stdin = given["stdin"]
    for key in ("digest", "start_id", "run", "runs", "results", "verification"):
        stdin.pop(key, None)
    stdin.get("parameters", {}).pop("digest", None)
    for asked in (stdin, stdin.get("host", {})):
        if "subsets" in asked:
            del asked["driver"]  # as the kernel names it
    programs = {key: given[key].partition(" -m ")[2] for key in given.keys() & {"create", "delete"}}
    return programs | {"stdin": stdin}


@cache
def manifest_objects() -> dict[str, dict[str, Any]]:
    """All of them, by file, name and digest: an object that is edited changes the plan."""
    found = {}
    for path in sorted(Path("manifests").rglob("*.yaml")):
        for each in yaml.safe_load_all(path.read_text()):
            digest = hashlib.sha256(json.dumps(each, sort_keys=True).encode()).hexdigest()[:6]
            found[f"{path} {each['metadata']['name']} {digest}"] = each
    return found


def place(item: dict[str, Any]) -> tuple[str, str]:
    """Objects of one kind in one namespace may be variants of each other."""
    metadata = item.get("metadata", {})
    return item.get("kind", ""), metadata.get("namespace") or metadata.get("name", "")
