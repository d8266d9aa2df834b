"""What each check is told of the modules that it needs: one verdict over all their programs."""

from __future__ import annotations

import json

import pytest

from components.modules.registry import modules
from machine.programs import CHECKS
from tests.unit.graph import Graph, build

SWEEP = {"sweep": "quick"}
"""Has all the programs of module 5."""
LABS = {
    "embedded": ("module5", SWEEP),
    "host": ("module5", SWEEP | {"node": "host"}),
    "kind": ("module5", SWEEP | {"cluster": "kind"}),
    "existing": (
        "module3",
        {
            "cluster": "existing",
            "context": "prod",
            "target": "GPU-b83343f0-ddfa-f18f-c57a-6148685663c8",
        },
    ),
}


def needs(graph: Graph) -> dict[str, tuple[str, dict[str, str]]]:
    """Check program → its module, and what it is told of the modules that this one needs."""
    found = {}
    for name, resource in graph.resources.items():
        if name.startswith("Command/check-"):
            told = json.loads(resource.inputs["stdin"])
            found[name.removeprefix("Command/check-")] = (told["module"], told["needs"])
    return found


@pytest.mark.parametrize("lab", LABS)
def test_every_check_is_told_of_every_module_that_it_needs(lab: str) -> None:
    stack, changes = LABS[lab]
    found = needs(build(stack, **changes))
    assert found
    for module, told in found.values():
        assert told == dict.fromkeys(modules()[module].needs, "passed")


@pytest.mark.parametrize("lab", LABS)
def test_a_module_names_the_programs_that_verify_it(lab: str) -> None:
    """Those that the configuration asks for among them."""
    stack, changes = LABS[lab]
    found: dict[str, set[str]] = {}
    for program, (module, _) in needs(build(stack, **changes, mps="both")).items():
        variants = ("-shares", "-daemonset")
        name = next((program.removesuffix(v) for v in variants if program.endswith(v)), program)
        found.setdefault(module, set()).add(program if program in CHECKS else name)
    del found["0"]  # which depends on the kind of cluster, as do checks of kind's nodes
    for module, programs in found.items():
        assert programs - {"kind-nodes"} == set(modules()[module].checks)


@pytest.mark.parametrize(
    ("lab", "failed", "later"),
    [
        ("embedded", "prerequisites", "cluster"),
        ("embedded", "cluster", "driver"),
        ("embedded", "driver", "exclusive"),
        ("host", "prerequisites", "cluster"),
        ("host", "host", "cluster"),
        ("kind", "workstation", "kind-nodes"),
        ("kind", "cluster", "driver"),
        ("kind", "kind-nodes", "driver"),
        ("existing", "existing", "cluster"),
    ],
)
def test_a_failed_program_fails_its_module_for_those_that_need_it(
    lab: str, failed: str, later: str
) -> None:
    stack, changes = LABS[lab]
    if later == "exclusive":
        stack = "module3"
    found = needs(build(stack, {failed: {"status": "failed"}}, **changes))
    module, told = found[later]
    assert told == dict.fromkeys(modules()[module].needs, "failed")


def test_both_programs_of_a_module_are_told_the_same() -> None:
    found = needs(build("module5", {"mps-sharing": {"status": "failed"}}))
    assert found["mps-percentage"] == found["mps-memory"] == ("5", {"4": "failed"})
