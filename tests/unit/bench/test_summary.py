"""Medians, ratios, the closing line and the tables."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from bench import show, summary
from bench.profile import COMMAND, Span
from bench.repeat import Part, Repeat
from bench.startup import parse_import_times
from bench.summary import Cost, Row

PREFIX = "urn:pulumi:module3::dra-workshop::"
SPANS = [
    Span(f"{PREFIX}{COMMAND}::cluster", 1, 5),
    Span(f"{PREFIX}kubernetes:core/v1:Pod::pod-1", 6, 7),
    Span(f"{PREFIX}{COMMAND}::check-exclusive", 7, 9),
]


def part(seconds: float, calls: int = 0, spans: list[Span] | None = None, **own: int) -> Part:
    clients = {name: Counter({"PATCH pods": number}) for name, number in own.items()}
    return Part(seconds, Counter({"PATCH pods": calls}), 2.0, clients, spans or [])


def repeat(apply_seconds: float) -> Repeat:
    parts = {
        "up": part(10, 60, SPANS, provider=30, checks=10, kubectl=0),
        "up again": part(2, 4, provider=4),
        "remove": part(9, 40, provider=20),
        "destroy": Part(1, Counter(), 0.0, {}),
        "apply": part(apply_seconds, 42, kubectl=20),
        "apply again": part(1, 22, kubectl=20),
        "delete modules": part(5, 12, kubectl=6),
        "delete the rest": part(1, 12, kubectl=4),
        "cluster": Part(5, Counter(), 0.0, {}),
        "apply on a new cluster": part(2, 42, kubectl=20),
    }
    return Repeat(parts, 1.0, {SPANS[2].urn: {SPANS[1].urn}}, {"status": "passed"}, load=0.5)


REPEATS = [repeat(1), repeat(2), repeat(0.5)]


def row(title: str) -> Row:
    return next(one for one in summary.compare(REPEATS) if one.title.strip() == title)


def test_of_an_update_only_the_objects_and_the_engine_are_compared() -> None:
    # 10 s less 4 s for the cluster and 2 s for the check
    assert row("its part on the cluster").pulumi.seconds == [4, 4, 4]


def test_all_calls_are_less_the_checks_and_the_idle_rate() -> None:
    found = row("its part on the cluster")
    assert found.pulumi.calls == [60 - 10 - 2] * 3
    assert found.kubectl.calls == [42 - 2] * 3
    assert found.pulumi.own == [30] * 3


def test_the_watches_of_checks_are_not_taken_off_twice() -> None:
    clients = {"checks": Counter({"WATCH pods": 5, "LIST pods": 3})}
    assert summary.beyond_idle(Part(1, Counter(a=10), 0.0, clients), idle=1) == 7
    assert summary.beyond_idle(Part(1, Counter(a=2), 0.0, clients), idle=1) == 0


def test_parts_are_added_and_what_cannot_be_counted_is_left_out() -> None:
    found = row("destroy")
    assert found.kubectl.seconds == [6, 6, 6]
    assert found.kubectl.own == [10, 10, 10]
    assert found.pulumi.calls == []
    assert summary.ratio(found, "calls") is None


def test_a_ratio_is_taken_within_a_repeat() -> None:
    assert summary.ratio(row("its part on the cluster"), "seconds") == 4  # of 4, 2, 8
    assert summary.ratio(Row("", Cost([1]), Cost([0])), "seconds") is None


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [(4.0, 1.0, "4.0× time (1.0 s under 2× + 3 s)"), (9.0, 1.0, "9.0× time (4.0 s over 2× + 3 s)")],
)
def test_the_closing_line_is_computed(ours: float, theirs: float, said: str) -> None:
    costs = Cost([ours], [30], [40]), Cost([theirs], [20], [40])
    rows = [Row("", *costs), Row("", *costs, judged=True), Row("", *costs, judged=True)]
    same, new = summary.closing_lines(rows)
    figures = f"{said}, 1.5× own calls, 1.0× all calls"
    assert same == f"up / kubectl apply, on the same cluster: {figures}"
    assert new == f"up / kubectl apply, each on a new one:   {figures}"


def test_the_breakdown_has_both_sides() -> None:
    assert summary.breakdown(REPEATS)[0] == ("writes", 30, 20)
    assert summary.breakdown(REPEATS)[1] == ("reads", 0, 0)


def test_calls_are_of_kinds_that_explain_a_difference() -> None:
    asked = {"GET api": 2, "GET apis/apps/v1": 1, "GET openapi/v3": 1, "GET pods": 4,
             "LIST secrets": 1, "WATCH pods": 3, "PUT secrets": 1, "DELETE pods": 1}  # fmt: skip
    assert summary.by_kind(Counter(asked)) == {
        "discovery and OpenAPI": 4, "reads": 5, "watches": 3, "writes": 2,
    }  # fmt: skip


def test_everything_measured_is_in_the_json() -> None:
    found: dict[str, Any] = json.loads(json.dumps(summary.to_json(REPEATS)))
    assert [one["parts"]["apply"]["seconds"] for one in found["repeats"]] == [1, 2, 0.5]
    assert found["repeats"][0]["parts"]["up"]["spans"][0] == vars(SPANS[0])
    assert found["rows"][1]["ratios"] == {"seconds": 4, "own": 1.5, "calls": 1.2}
    assert [link["urn"] for link in found["critical_path"]] == [SPANS[1].urn, SPANS[2].urn]


def test_the_report_fits_its_width_and_ends_with_the_closing_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    machine = {"processors": 2, "processor": "a CPU", "memory": 8.0}
    show.report(REPEATS, machine, {"Python": 0.01}, {"grpc": 0.1})
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == summary.closing_lines(summary.compare(REPEATS))
    assert max(map(len, lines)) <= show.WIDTH
    (apply,) = [line for line in lines if line.startswith("  its part on the cluster")]
    assert apply.split()[5:] == [
        "4.0", "(4.0–4.0)", "1.0", "(0.5–2.0)", "4.0", "30", "20", "1.5", "48", "40", "1.2",
    ]  # fmt: skip


def test_imports_are_summed_by_package_and_small_ones_dropped() -> None:
    lines = [
        "import time: self [us] | cumulative | imported package",
        "import time:    400000 |     400000 |   grpc._channel",
        "import time:    200000 |     600000 | grpc",
        "import time:    300000 |     900000 | pulumi.runtime",
        "import time:      1000 |       1000 | json",
    ]
    assert parse_import_times("\n".join(lines)) == {"grpc": 0.6, "pulumi": 0.3}
