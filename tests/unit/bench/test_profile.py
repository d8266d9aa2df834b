"""Where the seconds of an update went."""

from __future__ import annotations

from typing import Any

import pytest

from bench.profile import (
    ENGINE,
    Span,
    critical_path,
    read_needs,
    read_spans,
    split_seconds,
    typical_spans,
)

PREFIX = "urn:pulumi:module3::dra-workshop::dra-workshop:check:Check$"
COMMAND = "command:local:Command"


def urn(kind: str, name: str) -> str:
    return f"{PREFIX}{kind}::{name}"


def span(kind: str, name: str, start: float, end: float) -> Span:
    return Span(urn(kind, name), start, end)


CHECK = span(COMMAND, "check-cluster", 5, 9)
CLUSTER = span(COMMAND, "cluster", 1, 4)
POD = span("kubernetes:core/v1:Pod", "pod-1", 6, 7)
GATE = span(COMMAND, "devices-published", 7, 8)
PROVIDER = span("pulumi:providers:command", "default", 0.5, 0.6)


@pytest.mark.parametrize(
    ("one", "part"),
    [(CHECK, "checks"), (CLUSTER, "cluster"), (POD, "objects"), (GATE, "objects"),
     (PROVIDER, ENGINE)],
)  # fmt: skip
def test_a_resource_belongs_to_a_part(one: Span, part: str) -> None:
    assert one.part == part


def test_every_moment_belongs_to_the_most_telling_that_is_under_way() -> None:
    found = split_seconds([CHECK, CLUSTER, POD, GATE, PROVIDER], total=10)
    assert found == {"objects": 2, "cluster": 3, "checks": 2, ENGINE: 3}
    assert sum(found.values()) == 10


def test_an_update_without_resources_is_all_engine() -> None:
    assert split_seconds([], total=2.5)[ENGINE] == 2.5


def pre(name: str) -> dict[str, Any]:
    return {"resourcePreEvent": {"metadata": {"urn": name}}}


def outputs(name: str, custom: bool, key: str = "new") -> dict[str, Any]:
    return {"resOutputsEvent": {"metadata": {"urn": name, key: {"custom": custom}}}}


def test_a_span_is_from_its_first_event_to_its_last_and_components_have_none() -> None:
    found = read_spans(
        [
            (0.5, {"preludeEvent": {}}),
            (1.0, pre(POD.urn)),
            (1.1, pre("urn:component")),
            (1.5, outputs("urn:component", custom=False)),
            (2.0, outputs(POD.urn, custom=True)),
            (2.5, pre(POD.urn)),
            (3.0, outputs(POD.urn, custom=True, key="old")),
            (4.0, pre("urn:never done")),
        ]
    )
    assert found == [Span(POD.urn, 1.0, 3.0)]


def test_a_resource_needs_what_its_state_names() -> None:
    resource = {
        "urn": "urn:pod",
        "parent": "urn:component",
        "provider": "urn:provider::some-id",
        "dependencies": ["urn:claim"],
        "propertyDependencies": {"spec": ["urn:map"], "metadata": []},
    }
    assert read_needs({"deployment": {"resources": [resource, {"urn": "urn:alone"}]}}) == {
        "urn:pod": {"urn:provider", "urn:claim", "urn:map"},
        "urn:alone": set(),
    }


def test_the_critical_path_follows_what_ended_last_of_what_was_needed() -> None:
    need = {
        POD.urn: {CLUSTER.urn, PROVIDER.urn},
        CHECK.urn: {POD.urn, "urn:not in this update"},
        CLUSTER.urn: {PROVIDER.urn},
    }
    late = span(COMMAND, "check-cluster", 7.5, 9)
    path = critical_path([PROVIDER, CLUSTER, POD, Span(CHECK.urn, late.start, late.end)], need)
    assert [link.span.name for link in path] == ["default", "cluster", "pod-1", "check-cluster"]
    assert [link.waited for link in path] == pytest.approx([0.5, 0.4, 2, 0.5])
    assert critical_path([], {}) == []


def test_typical_is_the_median_of_starts_and_of_ends() -> None:
    runs = [[Span("a", 1, 2)], [Span("a", 3, 9)], [Span("a", 2, 4), Span("b", 0, 1)]]
    assert typical_spans(runs) == [Span("a", 2, 4), Span("b", 0, 1)]
